import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Events } from './react/Events.jsx'

createRoot(document.body.appendChild(document.createElement('main'))).render(
  <StrictMode>
    <Events url={url} />
  </StrictMode>,
)
