package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/tmaxmax/go-sse"
)

func main() {
	url := os.Args[1]
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	connection := sse.NewConnection(request)
	connection.SubscribeToAll(func(event sse.Event) {
		fmt.Println(event.Data)
	})
	log.Fatal(connection.Connect())
}
