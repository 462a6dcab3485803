package sample

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

// unfinished is the suffix of a file that is being written, so that it is not read as a CSV or Parquet file.
const unfinished = ".partial"

// writeFile writes a file under a temporary name and renames it when it is complete. It returns its size.
func writeFile(path string, write func(*bufio.Writer) error) (bytes int64, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, fmt.Errorf("make the directory of %s: %w", path, err)
	}
	file, err := os.Create(path + unfinished)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = file.Close() // closed already, unless writing failed, which is the error to tell
			_ = os.Remove(path + unfinished)
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	out := bufio.NewWriterSize(file, 256<<10)
	if err := write(out); err != nil {
		return 0, err
	}
	if err := out.Flush(); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if err := file.Close(); err != nil {
		return 0, err
	}
	return info.Size(), os.Rename(path+unfinished, path)
}
