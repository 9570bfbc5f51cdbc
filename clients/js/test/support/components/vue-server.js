import { createSSRApp } from 'vue';
import { renderToString } from 'vue/server-renderer';
import Events from '../../../../../interop/npm/pages/vue/Events.vue';

export const render = (props) => renderToString(createSSRApp(Events, props));
