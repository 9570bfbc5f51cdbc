package main

import (
	"fmt"
	"log"
	"os"

	"github.com/donovanhide/eventsource"
)

func main() {
	url := os.Args[1]
	stream, err := eventsource.Subscribe(url, "")
	if err != nil {
		log.Fatal(err)
	}
	for event := range stream.Events {
		fmt.Println(event.Data())
	}
}
