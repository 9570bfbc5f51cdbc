import { hydrate, mount, unmount } from 'svelte';
import { SvelteMap } from 'svelte/reactivity';
import Events from '../../../../../interop/npm/pages/svelte/Events.svelte';

window.mount = (target, { url, topics }) => {
  const shown = new SvelteMap([['topics', topics]]);
  const props = {
    url,
    get topics() {
      return shown.get('topics');
    },
  };
  const component = mount(Events, { target, props });
  return { show: (topics) => void shown.set('topics', topics), unmount: () => unmount(component) };
};

window.hydrate = (target, props) => {
  hydrate(Events, { target, props });
};
