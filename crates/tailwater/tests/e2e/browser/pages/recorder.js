// Notes all that the EventSources of the page receive.
window.page = { got: [], readies: [], told: [], refused: 0, answered: null, signedOut: false }
window.EventSource = class extends EventSource {
  constructor(...args) {
    super(...args)
    const note = (type, take) => this.addEventListener(type, take)
    note('message', e => page.got.push([e.lastEventId, e.data]))
    note('error', () => { if (this.readyState === this.CLOSED) page.refused += 1 })
    note('tailwater.ready', e => page.readies.push(JSON.parse(e.data)))
    note('tailwater.reconnect', e => page.told.push({ at: Date.now(), ...JSON.parse(e.data) }))
  }
}
