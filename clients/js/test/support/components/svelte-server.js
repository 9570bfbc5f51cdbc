import { render as renderComponent } from 'svelte/server';
import Events from '../../../../../interop/npm/pages/svelte/Events.svelte';

export const render = async (props) => renderComponent(Events, { props }).body;
