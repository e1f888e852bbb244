// The original's way of counting, as it is documented: a lock around a ring of sixty cells, and a lock
// around a map of totals. The time is given, so that reading the clock is left out.
//
//	original GOROUTINES COUNTS: nanoseconds a count, of the slowest goroutine's wall time
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type window struct {
	mu      sync.Mutex
	seconds [60]int64
	counts  [60]int64
}

func (w *window) record(t time.Time) {
	second := t.Unix()
	cell := second % 60
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seconds[cell] != second {
		w.seconds[cell] = second
		w.counts[cell] = 0
	}
	w.counts[cell]++
}

type envelopeCounters struct {
	rate     window
	mu       sync.Mutex
	byAspect map[string]int64
}

func (e *envelopeCounters) Observe(t time.Time, aspect string) {
	e.rate.record(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byAspect[aspect]++
}

func main() {
	goroutines, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	counts, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	counters := &envelopeCounters{byAspect: map[string]int64{}}
	now := time.Now()
	for _, aspect := range []string{"ack", "data", "cursor", "typing", "presence", "reaction"} {
		counters.Observe(now, aspect)
	}
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	took := make([]time.Duration, goroutines)
	for i := range took {
		ready.Add(1)
		done.Add(1)
		go func(i int) {
			defer done.Done()
			runtime.LockOSThread()
			ready.Done()
			<-start
			began := time.Now()
			for n := 0; n < counts; n++ {
				counters.Observe(now, "presence")
			}
			took[i] = time.Since(began)
		}(i)
	}
	ready.Wait()
	close(start)
	done.Wait()
	slowest := took[0]
	for _, t := range took {
		if t > slowest {
			slowest = t
		}
	}
	fmt.Println(float64(slowest.Nanoseconds()) / float64(counts))
}
