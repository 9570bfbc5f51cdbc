package main

import (
	"fmt"
	"log"
	"os"

	"github.com/r3labs/sse/v2"
)

func main() {
	url := os.Args[1]
	client := sse.NewClient(url)
	err := client.SubscribeRaw(func(event *sse.Event) {
		fmt.Println(string(event.Data))
	})
	if err != nil {
		log.Fatal(err)
	}
}
