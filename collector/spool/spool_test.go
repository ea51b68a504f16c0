package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

func item(n, size int) Item {
	return Item{ID: fmt.Sprint(n), Data: make([]byte, size), Events: 10, First: uint64(n * 10), Lost: 1}
}

func TestOrderAndBytes(t *testing.T) {
	m := NewMemory(1 << 20)
	for i := range 40 {
		if d := m.Put(item(i, 100)); d != (Drop{}) {
			t.Fatalf("drop %+v", d)
		}
	}
	if m.Bytes() != 4000 || m.Len() != 40 {
		t.Fatalf("bytes %d, len %d", m.Bytes(), m.Len())
	}
	for i := range 40 {
		it, err := m.Next(t.Context())
		if err != nil || it.ID != fmt.Sprint(i) {
			t.Fatalf("item %d: %q, %v", i, it.ID, err)
		}
		if want := 4000 - 100*i; m.Bytes() != want {
			t.Fatalf("bytes %d while %d is on its way, want %d", m.Bytes(), i, want)
		}
		m.Done(it)
	}
	if m.Bytes() != 0 {
		t.Errorf("bytes %d at the end", m.Bytes())
	}
	if b := m.Buffer(); cap(b) < 100 || len(b) != 0 {
		t.Errorf("buffer of cap %d, len %d, want a reused one", cap(b), len(b))
	}
}

func TestOldestIsDroppedFirst(t *testing.T) {
	m := NewMemory(1000)
	for i := range 10 {
		m.Put(item(i, 100))
	}
	it, err := m.Next(t.Context()) // 0 is on its way: it cannot be dropped
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Put(item(10, 150)), (Drop{ReasonFull, 2, 22, 2}); got != want {
		t.Errorf("drop %+v, want %+v", got, want)
	}
	m.Done(it)
	if it, err = m.Next(t.Context()); err != nil || it.ID != "3" {
		t.Errorf("next is %q, %v, want 3", it.ID, err)
	}
	if m.Bytes() > 1000 {
		t.Errorf("bytes %d over the bound", m.Bytes())
	}
	if got := m.Put(item(11, 1001)); got.Reason != ReasonTooLarge || got.Events != 11 {
		t.Errorf("drop %+v of a batch over the bound", got)
	}
}

func TestNewestIsDroppedWhenAllIsOnItsWay(t *testing.T) {
	m := NewMemory(100)
	m.Put(item(0, 100))
	it, _ := m.Next(t.Context())
	if got := m.Put(item(1, 50)); got.Batches != 1 || got.Reason != ReasonFull {
		t.Errorf("drop %+v", got)
	}
	m.Done(it)
	if got := m.Put(item(2, 50)); got != (Drop{}) {
		t.Errorf("drop %+v after Done", got)
	}
}

func TestCloseDrains(t *testing.T) {
	m := NewMemory(1000)
	m.Put(item(0, 1))
	m.Put(item(1, 1))
	m.Close()
	if d := m.Put(item(2, 1)); d.Reason != ReasonStopped {
		t.Errorf("put after close: %+v", d)
	}
	for range 2 {
		if _, err := m.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := m.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("next: %v, want ErrClosed", err)
		}
	}
}

func TestDiscard(t *testing.T) {
	m := NewMemory(1000)
	m.Put(item(0, 1))
	m.Put(item(1, 1))
	if got, want := m.Discard(), (Drop{ReasonStopped, 2, 22, 2}); got != want {
		t.Errorf("discard %+v, want %+v", got, want)
	}
	if m.Bytes() != 0 {
		t.Errorf("bytes %d", m.Bytes())
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(1000)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var got, ended int
		var mu sync.Mutex
		for range 3 {
			wg.Go(func() {
				for {
					it, err := m.Next(ctx)
					mu.Lock()
					if err != nil {
						ended++
						mu.Unlock()
						return
					}
					got++
					mu.Unlock()
					m.Done(it)
				}
			})
		}
		synctest.Wait()
		for i := range 5 {
			m.Put(item(i, 10))
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if got != 5 || ended != 3 {
			t.Errorf("got %d items, %d ended; want 5 and 3", got, ended)
		}
	})
}
