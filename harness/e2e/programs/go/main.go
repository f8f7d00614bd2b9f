// Server and client of the traffic contract in README.md, on net/http.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

func text(marker string, size int) string {
	unit := marker + "."
	return strings.Repeat(unit, size/len(unit)+1)[:size]
}

func answer(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) != 3 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	status, err1 := strconv.Atoi(parts[1])
	size, err2 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.WriteString(w, text(r.URL.Query().Get("m"), size))
	}
}

func serve(address string) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	fmt.Printf("listening %d\n", listener.Addr().(*net.TCPAddr).Port)
	return http.Serve(listener, http.HandlerFunc(answer))
}

func get(base string, connections int) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}}
	lines := make(chan string)
	var printing sync.Mutex
	var workers sync.WaitGroup
	failures := make(chan error, connections)
	for range connections {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for line := range lines {
				fields := strings.Fields(line)
				size, _ := strconv.Atoi(fields[2])
				var body io.Reader
				if size > 0 {
					body = strings.NewReader(text("b", size))
				}
				request, err := http.NewRequest(fields[0], base+fields[1], body)
				if err == nil {
					request.Header.Set("Content-Type", "text/plain")
					var response *http.Response
					if response, err = client.Do(request); err == nil {
						var n int64
						n, err = io.Copy(io.Discard, response.Body)
						response.Body.Close()
						printing.Lock()
						fmt.Printf("%s %d %d\n", fields[1], response.StatusCode, n)
						printing.Unlock()
					}
				}
				if err != nil {
					select {
					case failures <- err:
					default:
					}
				}
			}
		}()
	}
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		lines <- scanner.Text()
	}
	close(lines)
	workers.Wait()
	close(failures)
	return <-failures
}

func main() {
	var err error
	if os.Args[1] == "serve" {
		address := "127.0.0.1"
		if len(os.Args) > 2 {
			address = os.Args[2]
		}
		err = serve(address)
	} else {
		var connections int
		if connections, err = strconv.Atoi(os.Args[3]); err == nil {
			err = get(os.Args[2], connections)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
