import { StrictMode } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { Events } from '../../../../../interop/npm/pages/react/Events.jsx';

const page = (props) => (
  <StrictMode>
    <Events {...props} />
  </StrictMode>
);

window.mount = (target, props) => {
  const root = createRoot(target);
  root.render(page(props));
  return { show: (topics) => root.render(page({ ...props, topics })), unmount: () => root.unmount() };
};

window.hydrate = (target, props) => {
  hydrateRoot(target, page(props));
};
