package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"consentpipeline.io/test/testneeds"
)

func TestFullDisk(t *testing.T) {
	volume := dataDir(t)
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", volume, "tmpfs", 0, "size=1m,mode=755")
	testneeds.Need(t, "mount", err == nil, "run the tests as root, who may mount a small volume to fill")
	t.Cleanup(func() {
		if err := syscall.Unmount(volume, 0); err != nil {
			t.Error(err)
		}
	})
	folder := filepath.Join(volume, "data")
	// Full at different stages: bootstrap, template databases, the database consent.
	for _, megabytes := range []int{1, 20, 30, 36, 42} {
		size := fmt.Sprintf("size=%dm", megabytes)
		if err := syscall.Mount("tmpfs", volume, "tmpfs", syscall.MS_REMOUNT, size); err != nil {
			t.Fatal(err)
		}
		startFails(t, Options{DataDir: folder}, "the disk is full", folder, "--data-dir")
		if left, _ := filepath.Glob(filepath.Join(folder, unfinishedIn)); len(left) != 0 {
			t.Errorf("%s: %v keeps the disk full", size, left)
		}
	}

	if err := syscall.Mount("tmpfs", volume, "tmpfs", syscall.MS_REMOUNT, "size=200m"); err != nil {
		t.Fatal(err)
	}
	if err := start(t, Options{DataDir: folder}).Stop(); err != nil {
		t.Fatal(err)
	}
}
