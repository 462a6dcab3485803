package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"consentpipeline.io/test/testneeds"
)

// TestFullDisk loads more than fits on the disk, then loads again with enough space.
func TestFullDisk(t *testing.T) {
	volume := filepath.Join(reachableDir(t), "volume")
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", volume, "tmpfs", 0, "size=90m,mode=755")
	testneeds.Need(t, "mount", err == nil, "run the tests as root, who may mount a small volume to fill")
	t.Cleanup(func() {
		if err := syscall.Unmount(volume, 0); err != nil {
			t.Error(err)
		}
	})
	input := filepath.Join(t.TempDir(), "input")
	if o := consent(t, "generate", "--out", input, "--companies", "1", "--events", "150000", "--format", "csv"); o.code != 0 {
		t.Fatal(o.stderr)
	}
	args := []string{"ingest", "--source", input, "--data-dir", filepath.Join(volume, "data")}
	if o := consent(t, "migrate", "--data-dir", filepath.Join(volume, "data")); o.code != 0 {
		t.Fatal(o.stderr)
	}
	o := consent(t, args...)
	if o.code != 75 || !strings.Contains(o.stderr, "full") || strings.Contains(o.stdout, "150,000") {
		t.Errorf("exit code %d: %s\n%s", o.code, o.stdout, o.stderr)
	}
	if err := syscall.Mount("tmpfs", volume, "tmpfs", syscall.MS_REMOUNT, "size=400m"); err != nil {
		t.Fatal(err)
	}
	if o := consent(t, args...); o.code != 0 || !strings.Contains(o.stdout, "150,000") {
		t.Errorf("with space again: exit code %d: %s\n%s", o.code, o.stdout, o.stderr)
	}
}
