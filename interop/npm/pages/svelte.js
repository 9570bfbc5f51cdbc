import { mount } from 'svelte'
import Events from './svelte/Events.svelte'

mount(Events, { target: document.body.appendChild(document.createElement('main')), props: { url } })
