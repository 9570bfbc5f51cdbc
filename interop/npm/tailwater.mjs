import { subscribe } from '@tailwater/client'

const url = process.argv[2]

for await (const { data } of subscribe(url)) console.log(data)
