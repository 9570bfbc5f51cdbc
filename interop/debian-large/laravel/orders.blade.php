<main id="orders"></main>
<script>
  const source = new EventSource(@json($url))
  source.onmessage = ({ data }) => {
    const order = document.createElement('p')
    order.textContent = data
    document.getElementById('orders').append(order)
  }
</script>
