import { createApp, createSSRApp, h, shallowRef } from 'vue';
import Events from '../../../../../interop/npm/pages/vue/Events.vue';

window.mount = (target, props) => {
  const topics = shallowRef(props.topics);
  const app = createApp(() => h(Events, { ...props, topics: topics.value }));
  app.mount(target);
  return {
    show(now) {
      topics.value = now;
    },
    unmount: () => app.unmount(),
  };
};

window.hydrate = (target, props) => {
  createSSRApp(Events, props).mount(target);
};
