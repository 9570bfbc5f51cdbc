import { renderToString } from 'react-dom/server';
import { Events } from '../../../../../interop/npm/pages/react/Events.jsx';

export const render = async (props) => renderToString(<Events {...props} />);
