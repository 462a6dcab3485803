package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestServerOutlivesStartingThread(t *testing.T) {
	started := make(chan *Server)
	thread := make(chan int, 1)
	var startOnOtherThread func()
	startOnOtherThread = func() {
		// Never unlocked: the thread ends with this goroutine. Only the process's first does not: occupy it.
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			var other sync.WaitGroup
			other.Go(startOnOtherThread)
			other.Wait()
			return
		}
		thread <- syscall.Gettid()
		server, err := Start(context.Background(), Options{Settings: unsafeAndFast})
		if err != nil {
			t.Error(err)
		}
		started <- server
	}
	go startOnOtherThread()
	server := <-started
	if server == nil {
		return
	}
	id := <-thread
	waitUntil(t, "end of the thread", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", id))
		return errors.Is(err, fs.ErrNotExist)
	})
	select {
	case <-server.Done():
		t.Error(server.Err())
	case <-time.After(500 * time.Millisecond): // a signalled server without connections ends in a tenth of that
		execute(t, server.URL(), "select 1")
	}
	_ = server.Stop()
}
