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

// removeUnfinished removes the leftovers of starts that were killed, also between the completion of a cluster and the
// removal of its temporary folder.
func (f *folder) removeUnfinished() error {
	left, err := filepath.Glob(filepath.Join(f.path, unfinishedIn))
	for _, old := range left {
		_ = os.RemoveAll(old) // a program that is just dying may still write there; the next start removes it
	}
	return err
}

// initialise makes the cluster with its user and database, and renames it when it is complete. The next start removes an
// interrupted one.
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
		// Upper and lower case are the same on every machine, too. Before 17 they follow the system's locale, here ASCII.
		initdb.Args = append(initdb.Args, "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
	}
	if !sync {
		initdb.Args = append(initdb.Args, "--no-sync")
	}
	if err := f.runStep(ctx, binaries, initdb); err != nil {
		return err
	}
	// In single-user mode, so that no client ever sees a cluster without the database.
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

// syncFolder makes a rename durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
