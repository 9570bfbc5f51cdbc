package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/donovanhide/eventsource"
)

func main() {
	url := os.Args[1]
	stream, err := eventsource.Subscribe(url, "")
	if err != nil {
		log.Fatal(err)
	}
	for {
		select {
		case event := <-stream.Events:
			fmt.Println(event.Data())
		case err := <-stream.Errors:
			var refused eventsource.SubscriptionError
			if errors.As(err, &refused) && refused.Code == http.StatusNoContent {
				return // the topic has ended
			}
		}
	}
}
