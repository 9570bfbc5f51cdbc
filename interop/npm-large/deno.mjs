const url = Deno.args[0]

const source = new EventSource(url)
source.onmessage = event => console.log(event.data)
