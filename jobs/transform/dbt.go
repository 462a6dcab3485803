package transform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// requiredDbt is the minor version of dbt-core that the project needs. 1.12 installs a component from outside PyPI, and
// 2 does not support Postgres.
const requiredDbt = "1.11"

// The environment variables of the dbt project: the target of its profile, the roles that may read the marts (a JSON
// list of names), whether dependent views are recreated, and the settings of each transaction behind a pooler (a JSON
// list of names and values).
const (
	targetVariable   = "CONSENT_DBT_TARGET"
	readersVariable  = "CONSENT_READERS"
	recreateVariable = "CONSENT_RECREATE_DEPENDENTS"
	settingsVariable = "CONSENT_TRANSACTION_SETTINGS"
)

// stopGrace is how long dbt may take to end after an interrupt, while it cancels its queries, before it is killed.
const stopGrace = 10 * time.Second

// A command is the dbt executable with its flags, environment and folders.
type command struct {
	dbt       string
	flags     []string // for every dbt command
	env       []string
	target    string // where dbt writes what it makes
	logs      string
	temporary string // the folder of both, if it is to be removed
}

// An outcome is how dbt ended.
type outcome struct {
	exit  int
	dbt   string // its version
	fatal string // the error that kept dbt from running nodes
	stray string // the end of what it printed outside its log, such as a traceback
}

func newCommand(o Options) (*command, error) {
	path, err := FindDbt(o.Dbt)
	if err != nil {
		return nil, err
	}
	project, err := filepath.Abs(o.ProjectDir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"dbt_project.yml", "profiles.yml"} {
		if _, err := os.Stat(filepath.Join(project, name)); err != nil {
			return nil, fmt.Errorf("%s is not a dbt project: %w", project, err)
		}
	}
	return &command{
		dbt:   path,
		flags: []string{"--project-dir", project, "--profiles-dir", project},
	}, nil
}

// connect sets dbt's environment for the server that this program is connected to.
func (c *command) connect(o Options, e warehouse.Endpoint) (err error) {
	c.env, err = environment(o, e, os.Environ())
	return err
}

// FindDbt returns the path of dbt: the one given, else $CONSENT_DBT, else .venv/bin/dbt in the working folder, beside the
// executable or in the folder above it, else the first on PATH.
func FindDbt(given string) (string, error) {
	if given == "" {
		given = os.Getenv("CONSENT_DBT")
	}
	if given != "" {
		path, err := exec.LookPath(given)
		if err != nil {
			return "", fmt.Errorf("dbt (--dbt, CONSENT_DBT): %w: `make venv` installs it in .venv, "+
				"where it is found if neither is set", err)
		}
		return filepath.Abs(path)
	}
	folders := []string{"."}
	if executable, err := os.Executable(); err == nil {
		folder := filepath.Dir(executable)
		folders = append(folders, folder, filepath.Dir(folder))
	}
	for _, folder := range folders {
		if path, err := filepath.Abs(filepath.Join(folder, ".venv", "bin", "dbt")); err == nil {
			if _, err := exec.LookPath(path); err == nil {
				return path, nil
			}
		}
	}
	if path, err := exec.LookPath("dbt"); err == nil {
		return filepath.Abs(path)
	}
	return "", errors.New("dbt was not found in .venv or on PATH: run `make venv`, which installs it, " +
		"or set --dbt or CONSENT_DBT to its path")
}

// prepareFolders makes the folders that dbt writes to: the project's own may be read-only.
func (c *command) prepareFolders(stateDir string) error {
	if stateDir == "" {
		folder, err := os.MkdirTemp("", "consent-dbt-")
		if err != nil {
			return fmt.Errorf("a temporary folder for dbt (TMPDIR names another place): %w", err)
		}
		stateDir, c.temporary = folder, folder
	}
	folder, err := filepath.Abs(stateDir)
	if err != nil {
		return err
	}
	c.target, c.logs = filepath.Join(folder, "target"), filepath.Join(folder, "logs")
	if err := os.MkdirAll(c.target, 0o700); err != nil {
		return fmt.Errorf("a folder for dbt: %w", err)
	}
	// The results of an earlier run must not be mistaken for those of this one.
	if err := os.Remove(filepath.Join(c.target, "run_results.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c.flags = append(c.flags, "--log-path", c.logs, "--no-use-colors")
	return nil
}

func (c *command) removeFolders() {
	if c.temporary != "" {
		_ = os.RemoveAll(c.temporary)
	}
}

// passedOn are the connection keywords that dbt's libpq gets unchanged.
var passedOn = map[string]string{
	"passfile": "PGPASSFILE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
	"sslcertmode": "PGSSLCERTMODE", "sslsni": "PGSSLSNI", "sslnegotiation": "PGSSLNEGOTIATION",
	"channel_binding": "PGCHANNELBINDING", "require_auth": "PGREQUIREAUTH",
	"ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION", "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
}

// environment returns dbt's environment for the server that this program is connected to, as the project's profile reads
// it: of several hosts the one that answered, with TLS and certificate checks as in this program. The password is in a
// DBT_ENV_SECRET_ variable, which dbt never prints. Variables of the shell for another dbt or database are removed,
// because they would override these.
func environment(o Options, e warehouse.Endpoint, inherited []string) ([]string, error) {
	config, err := o.Database.ParseConfig()
	if err != nil {
		return nil, err
	}
	info, err := warehouse.ParseConninfo(o.Database.URL)
	if err != nil {
		return nil, err
	}
	if info["sslpassword"] != "" {
		return nil, errors.New("dbt cannot be given sslpassword: name an sslkey that is not encrypted, with mode 0600")
	}
	var env []string
	for _, entry := range inherited {
		name, _, _ := strings.Cut(entry, "=")
		ours := strings.HasPrefix(name, "PG") || name == targetVariable || name == readersVariable ||
			name == recreateVariable || name == settingsVariable ||
			strings.HasPrefix(name, "DBT_") && !strings.HasPrefix(name, "DBT_ENV_") || name == "DBT_ENV_SECRET_PGPASSWORD"
		if !ours {
			env = append(env, entry)
		}
	}
	set := map[string]string{
		"PGHOST":                         e.Host,
		"PGPORT":                         strconv.Itoa(int(e.Port)),
		"PGUSER":                         config.User,
		"PGDATABASE":                     cmp.Or(config.Database, config.User),
		"PGTZ":                           "UTC",
		"PGDATESTYLE":                    "ISO, MDY",
		"PGCLIENTENCODING":               "UTF8",
		"PGGSSENCMODE":                   "disable", // pgx has none
		"DBT_ENV_SECRET_PGPASSWORD":      e.Password,
		targetVariable:                   "prod",
		recreateVariable:                 strconv.FormatBool(o.Recreate),
		"DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
	}
	if e.Address != "" {
		set["PGHOSTADDR"] = e.Address
	}
	for keyword, variable := range passedOn {
		if info[keyword] != "" {
			set[variable] = info[keyword]
		}
	}
	setTLS(set, info, e)
	if err := setSettings(set, config.RuntimeParams, e); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		env = append(env, name+"="+set[name])
	}
	return env, nil
}

// setTLS has libpq verify the server as strictly as this program does.
func setTLS(set map[string]string, info warehouse.Conninfo, e warehouse.Endpoint) {
	mode := info["sslmode"]
	if info["sslrootcert"] == "system" {
		mode = "verify-full"
	}
	switch {
	case !e.TLS:
		set["PGSSLMODE"] = "disable"
		return
	case mode == "require" || strings.HasPrefix(mode, "verify"):
		set["PGSSLMODE"] = mode
	default: // prefer or allow, which do not verify
		set["PGSSLMODE"] = "require"
		delete(set, "PGSSLROOTCERT")
	}
	// Without sslrootcert both use the user's authorities, but libpq does not fall back to the system's.
	home, _ := os.UserHomeDir()
	if _, err := os.Stat(filepath.Join(home, ".postgresql", "root.crt")); err == nil && info["sslrootcert"] == "" {
		return
	}
	if strings.HasPrefix(mode, "verify") && (info["sslrootcert"] == "" || info["sslrootcert"] == "system") {
		set["PGSSLROOTCERT"] = systemAuthorities()
	}
}

// systemAuthorities is the file of the system's certificate authorities, in the folders where Go looks for it. The OpenSSL
// in dbt's driver does not know them.
func systemAuthorities() string {
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	// In the order of Debian and Alpine, Fedora, openSUSE, BSD. Each distribution gives the file a name of its own.
	for _, pattern := range []string{
		"/etc/ssl/certs/ca-cert*.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
	} {
		if files, _ := filepath.Glob(pattern); len(files) > 0 {
			return files[0]
		}
	}
	return "system"
}

// setSettings gives dbt's sessions the settings of this program's sessions, so that a session whose client was killed
// ends within seconds. A pooler refuses settings at the start of a session; there the project's models set them in their
// transactions.
func setSettings(set, session map[string]string, e warehouse.Endpoint) error {
	if !e.Pooled {
		session = maps.Clone(session)
		if e.Major >= warehouse.TransactionTimeoutSince {
			session["transaction_timeout"] = "0"
		}
		set["PGOPTIONS"] = options(session)
		return nil
	}
	if session["options"] != "" {
		set["PGOPTIONS"] = session["options"]
	}
	local, err := json.Marshal(e.Local)
	set[settingsVariable] = string(local)
	return err
}

// options writes settings as libpq's PGOPTIONS.
func options(settings map[string]string) string {
	escape := strings.NewReplacer(`\`, `\\`, ` `, `\ `)
	parts := []string{}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		switch name {
		case "application_name": // dbt sets its own
		case "options":
			parts = append(parts, settings[name])
		default:
			parts = append(parts, "-c "+name+"="+escape.Replace(settings[name]))
		}
	}
	return strings.Join(parts, " ")
}

// installed names the dbt packages beside the executable, so that a new version triggers a full build. It is empty if
// they are not where pip installs them. `dbt --version` would take a second.
func (c *command) installed() string {
	path, err := filepath.EvalSymlinks(c.dbt)
	if err != nil {
		return ""
	}
	// The only error is a bad pattern. A folder name with glob characters matches nothing.
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "..", "lib", "python3*", "site-packages", "dbt_*.dist-info"))
	var names []string
	for _, folder := range found {
		names = append(names, filepath.Base(folder))
	}
	return strings.Join(names, " ")
}

// run runs a dbt command to its end. When ctx ends, dbt is interrupted, and killed after stopGrace.
func (c *command) run(ctx context.Context, o Options, args ...string) (outcome, error) {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var result outcome
	reader := &logReader{log: o.Log, stopping: func() bool { return running.Err() != nil }, progress: o.progress}
	reader.onDbt = func(version string) {
		if !strings.HasPrefix(version+".", requiredDbt+".") {
			stop(report.New(report.BadConfig, fmt.Errorf("%s is dbt-core %s; %s is needed: `make venv` installs it, "+
				"or name another with --dbt or CONSENT_DBT", c.dbt, version, requiredDbt)))
		}
	}
	stderr := &tail{}
	args = append(args, c.flags...)
	args = append(args, "--target-path", c.target, "--log-format", "json", "--log-level", "info")
	cmd := exec.CommandContext(running, c.dbt, args...)
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = reader, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killWithParent(cmd.SysProcAttr)
	var kill *time.Timer
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		kill = time.AfterFunc(stopGrace, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
		return syscall.Kill(group, syscall.SIGINT)
	}
	cmd.WaitDelay = stopGrace + 5*time.Second

	o.Log.Info("dbt starts", "dbt", c.dbt, "project", o.ProjectDir, "args", args)
	err := runOnThread(cmd)
	if kill != nil {
		kill.Stop()
	}
	result.dbt, result.fatal = reader.version, reader.fatal
	result.stray = strings.TrimSpace(reader.stray.String() + "\n" + stderr.String())
	if cause := context.Cause(running); cause != nil && ctx.Err() == nil {
		return result, cause
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result, nil // the caller knows why
	case errors.As(err, &exit):
		result.exit = exit.ExitCode()
	case err != nil:
		return result, report.New(report.BadConfig, fmt.Errorf("dbt cannot be run (`make venv` installs it): %w", err))
	}
	if result.exit == -1 {
		return result, report.New(report.TryAgain, fmt.Errorf("dbt was killed (is there enough memory?): %w", exit))
	}
	if result.dbt == "" {
		return result, report.New(report.BadConfig, fmt.Errorf("%s did not start as dbt-core %s does "+
			"(`make venv` installs it): %s", c.dbt, requiredDbt, describe(result, nil)))
	}
	return result, nil
}

// runOnThread runs the command from a locked thread: Linux kills the command (Pdeathsig) when the thread that started it
// ends, and Go may end an unlocked thread at any time.
func runOnThread(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	return <-done
}
