package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/tmaxmax/go-sse"
)

// subscribe calls handle with every event once, over any number of connections, until the topic ends.
func subscribe(url string, handle func(sse.Event)) error {
	lastID := ""
	for {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if lastID != "" {
			request.Header.Set("Last-Event-ID", lastID)
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			switch {
			case response.StatusCode == http.StatusNoContent:
				response.Body.Close()
				return nil
			case response.StatusCode == http.StatusOK:
				if lastID == "" {
					lastID = response.Header.Get("Tailwater-Cursor")
				}
				for event, err := range sse.Read(response.Body, nil) {
					if err != nil {
						break // the connection broke
					}
					if event.LastEventID == "" || event.LastEventID == lastID {
						continue // cut off before its id
					}
					lastID = event.LastEventID
					handle(event)
				}
			case response.StatusCode < 500 && response.StatusCode != http.StatusTooManyRequests:
				response.Body.Close()
				return errors.New(response.Status)
			}
			response.Body.Close()
		}
		time.Sleep(2 * time.Second)
	}
}

func main() {
	url := os.Args[1]
	err := subscribe(url, func(event sse.Event) { fmt.Println(event.Data) })
	if err != nil {
		log.Fatal(err)
	}
}
