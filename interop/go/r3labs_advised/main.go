package main

import (
	"fmt"
	"log"
	"os"

	"github.com/r3labs/sse/v2"
)

func main() {
	url := os.Args[1]
	lastID := ""
	err := sse.NewClient(url).SubscribeRaw(func(event *sse.Event) {
		if string(event.ID) == lastID {
			return // cut off before its id
		}
		lastID = string(event.ID)
		fmt.Println(string(event.Data))
	})
	if err != nil {
		log.Fatal(err)
	}
}
