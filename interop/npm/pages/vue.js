import { createApp } from 'vue'
import Events from './vue/Events.vue'

createApp(Events, { url }).mount(document.body.appendChild(document.createElement('main')))
