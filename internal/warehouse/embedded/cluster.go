package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// removeUnfinished throws away what starts have left that were killed, also between a cluster's completion and the
// removal of what it was made in.
func (f *folder) removeUnfinished() error {
	left, err := filepath.Glob(filepath.Join(f.path, unfinishedIn))
	for _, old := range left {
		_ = os.RemoveAll(old) // a program that is just dying may still write there; the next start removes it
	}
	return err
}

// initialise makes the cluster with its user and database. It gets its name when it is complete: one that was
// interrupted is thrown away by the next start.
func (f *folder) initialise(ctx context.Context, binaries, password string, sync bool) error {
	unfinished, err := os.MkdirTemp(f.path, unfinishedIn)
	if err != nil {
		return unwritable(f.path, err)
	}
	defer os.RemoveAll(unfinished)
	cluster := filepath.Join(unfinished, clusterName)
	passwordFile := filepath.Join(unfinished, "password")
	err = errors.Join(os.Mkdir(cluster, 0o700), os.WriteFile(passwordFile, []byte(password+"\n"), 0o600),
		f.account.give(passwordFile), f.account.give(cluster), f.account.give(unfinished))
	if err != nil {
		return unwritable(f.path, err)
	}

	// Text sorts by code point on every machine.
	initdb := command(f.account, unfinished, filepath.Join(binaries, "initdb"), "-D", cluster,
		"--username="+userName, "--pwfile="+passwordFile, "--auth=scram-sha-256", "--encoding=UTF8",
		"--locale=C", "--no-instructions")
	if f.major >= "17" {
		// And upper and lower case have one meaning. Before 17 they are those of the system's locale, here ASCII's.
		initdb.Args = append(initdb.Args, "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
	}
	if !sync {
		initdb.Args = append(initdb.Args, "--no-sync")
	}
	if err := f.runStep(ctx, binaries, initdb); err != nil {
		return err
	}
	// Without a server, so that a cluster without the database is never seen.
	create := command(f.account, cluster, filepath.Join(binaries, "postgres"), "--single", "-D", cluster,
		"-c", "exit_on_error=on", "-c", "log_checkpoints=off", "postgres")
	if !sync {
		create.Args = append(create.Args[:len(create.Args)-1], "-c", "fsync=off", "postgres")
	}
	create.Stdin = strings.NewReader("create database " + databaseName + "\n")
	if err := f.runStep(ctx, binaries, create); err != nil {
		return err
	}

	if err := os.Rename(cluster, f.cluster()); err != nil {
		return unwritable(f.path, err)
	}
	return syncFolder(f.path)
}

func (f *folder) runStep(ctx context.Context, binaries string, cmd *exec.Cmd) error {
	output, err := run(ctx, cmd)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case cmd.ProcessState == nil:
		return f.account.explain(err, f.explainBlocked, binaries)
	}
	return fmt.Errorf("making a database in data folder %s%s: %s failed (%w):\n%s", f.path, remedy(output),
		filepath.Base(cmd.Path), err, lastLines(output))
}

// syncFolder makes a rename outlast a power failure.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
