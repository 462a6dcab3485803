package warehouse

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/jackc/pgpassfile"
	"github.com/jackc/pgservicefile"
	"github.com/jackc/pgx/v5"
)

// Conninfo holds libpq's connection keywords (PostgreSQL documentation, "Parameter Key Words") with their values,
// from the URL or keyword=value string, the service that it names, and the PG… variables, in this order. Both pgx and
// dbt get their connection from it, so that both use the same settings.
type Conninfo map[string]string

// A keyword is one of libpq's.
type keyword struct {
	variable string
	// passed: pgx supports it. Other keywords either have no effect on the security of a connection (allowed is nil) or
	// are requirements, of which only the allowed values can be met; an empty value always can.
	passed  bool
	demand  bool
	allowed []string
}

var (
	passed  = keyword{passed: true}
	ignored = keyword{}
)

func (k keyword) from(variable string) keyword { k.variable = variable; return k }

func demand(allowed ...string) keyword { return keyword{demand: true, allowed: allowed} }

var keywords = map[string]keyword{
	"host":                      passed.from("PGHOST"),
	"hostaddr":                  ignored.from("PGHOSTADDR"), // see lookup
	"port":                      passed.from("PGPORT"),
	"dbname":                    passed.from("PGDATABASE"),
	"user":                      passed.from("PGUSER"),
	"password":                  passed.from("PGPASSWORD"),
	"passfile":                  passed.from("PGPASSFILE"),
	"service":                   ignored.from("PGSERVICE"), // see withService
	"servicefile":               passed.from("PGSERVICEFILE"),
	"options":                   passed.from("PGOPTIONS"),
	"connect_timeout":           passed.from("PGCONNECT_TIMEOUT"),
	"target_session_attrs":      passed.from("PGTARGETSESSIONATTRS"),
	"sslmode":                   passed.from("PGSSLMODE"),
	"sslnegotiation":            passed.from("PGSSLNEGOTIATION"),
	"sslrootcert":               passed.from("PGSSLROOTCERT"),
	"sslcert":                   passed.from("PGSSLCERT"),
	"sslkey":                    passed.from("PGSSLKEY"),
	"sslpassword":               passed,
	"sslcertmode":               passed.from("PGSSLCERTMODE"),
	"sslsni":                    passed.from("PGSSLSNI"),
	"channel_binding":           passed.from("PGCHANNELBINDING"),
	"require_auth":              passed.from("PGREQUIREAUTH"),
	"min_protocol_version":      passed.from("PGMINPROTOCOLVERSION"),
	"max_protocol_version":      passed.from("PGMAXPROTOCOLVERSION"),
	"application_name":          ignored.from("PGAPPNAME"), // each command has its own
	"fallback_application_name": ignored,
	"client_encoding":           ignored.from("PGCLIENTENCODING"), // is UTF8
	"keepalives":                ignored,
	"keepalives_idle":           ignored,
	"keepalives_interval":       ignored,
	"keepalives_count":          ignored,
	"tcp_user_timeout":          ignored,
	"load_balance_hosts":        ignored.from("PGLOADBALANCEHOSTS"),
	"sslcompression":            ignored.from("PGSSLCOMPRESSION"),
	"gsslib":                    ignored.from("PGGSSLIB"),
	"gssdelegation":             ignored.from("PGGSSDELEGATION"),
	"krbsrvname":                ignored.from("PGKRBSRVNAME"),
	"gssencmode":                demand("disable", "prefer").from("PGGSSENCMODE"),
	"sslcrl":                    demand().from("PGSSLCRL"),
	"sslcrldir":                 demand().from("PGSSLCRLDIR"),
	"requirepeer":               demand().from("PGREQUIREPEER"),
	"requiressl":                demand("0").from("PGREQUIRESSL"),
	"ssl_min_protocol_version":  demand("TLSv1", "TLSv1.1", "TLSv1.2").from("PGSSLMINPROTOCOLVERSION"),
	"ssl_max_protocol_version":  demand("TLSv1.3").from("PGSSLMAXPROTOCOLVERSION"),
	"replication":               demand("0", "no", "off", "false"),
	"scram_client_key":          demand(),
	"scram_server_key":          demand(),
	"oauth_issuer":              demand(),
	"oauth_client_id":           demand(),
	"oauth_client_secret":       demand(),
	"oauth_scope":               demand(),
	"sslkeylogfile":             demand(),
}

// ParseConninfo reads a postgres:// URL or a keyword=value string, adds the settings of its service and the environment,
// and refuses settings that cannot be met. Its errors show no value that may be a password, or a part of one.
func ParseConninfo(text string) (Conninfo, error) {
	var given Conninfo
	var err error
	_, isURL := uriPrefix(text)
	switch {
	case isURL:
		given, err = parseURI(text)
	case strings.Contains(text, "://") || !strings.Contains(text, "="):
		err = errors.New("it is neither a URL, which begins with postgres:// or postgresql://, nor pairs of keyword=value")
	default:
		given, err = parsePairs(text)
	}
	if err != nil {
		return nil, err
	}
	environment := Conninfo{}
	for name, k := range keywords {
		if value := os.Getenv(k.variable); k.variable != "" && value != "" {
			environment[name] = value
		}
	}
	c, err := withService(environment, given)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// withService merges the given settings, those of their service, and the environment.
func withService(environment, given Conninfo) (Conninfo, error) {
	if given["host"] != "" { // the address of the environment is another host's
		delete(environment, "hostaddr")
	}
	merged := maps.Clone(environment)
	maps.Copy(merged, given)
	name := merged["service"]
	if name == "" {
		return merged, nil
	}
	files := []string{merged["servicefile"]}
	if files[0] == "" {
		if home, err := os.UserHomeDir(); err == nil {
			files[0] = filepath.Join(home, ".pg_service.conf")
		}
		if folder := os.Getenv("PGSYSCONFDIR"); folder != "" {
			files = append(files, filepath.Join(folder, "pg_service.conf"))
		}
	}
	for _, file := range files {
		services, err := pgservicefile.ReadServicefile(file)
		if err != nil {
			continue
		}
		service, err := services.GetService(name)
		if err != nil {
			continue
		}
		merged = maps.Clone(environment)
		if service.Settings["host"] != "" {
			delete(merged, "hostaddr")
		}
		for key, value := range service.Settings {
			if err := known(key); err != nil {
				return nil, fmt.Errorf("service %q in %s: %w", name, file, err)
			}
			merged[key] = value
		}
		maps.Copy(merged, given)
		merged["servicefile"] = file
		return merged, nil
	}
	return nil, fmt.Errorf("there is no service %q in %s: check the name, or set PGSERVICEFILE", name, strings.Join(files, " or "))
}

// check refuses settings that would fail, or would make a connection less secure than they require, before connecting.
func (c Conninfo) check() error {
	for _, name := range slices.Sorted(maps.Keys(keywords)) {
		k := keywords[name]
		if k.demand && c[name] != "" && !slices.Contains(k.allowed, c[name]) {
			return fmt.Errorf("%s%s demands what this program cannot do, so it does not connect: remove it%s",
				name, inBrackets(k.variable), orAllowed(k.allowed))
		}
	}
	hosts, addresses := strings.Split(c["host"], ","), strings.Split(c["hostaddr"], ",")
	if c["hostaddr"] != "" {
		if c["host"] == "" {
			hosts = addresses
			c["host"] = c["hostaddr"]
		}
		if len(addresses) != len(hosts) {
			return fmt.Errorf("hostaddr has %d addresses and host %d names: give one address for each", len(addresses), len(hosts))
		}
	}
	ports := strings.Split(c["port"], ",")
	if len(ports) > 1 && len(ports) != len(hosts) {
		return fmt.Errorf("there are %d ports for %d hosts: give one port, or one for each host", len(ports), len(hosts))
	}
	if err := checkPorts(ports); err != nil {
		return err
	}
	for _, host := range hosts {
		if filepath.IsAbs(host) {
			continue // the folder of a socket may have any name
		}
		if strings.Contains(host, "@") && !strings.HasPrefix(host, "@") {
			return errors.New("a host contains @: in a URL, an @ in a password is written as %40")
		}
		if strings.ContainsAny(host, " \t/?#") {
			return errors.New("a host contains a blank, /, ? or #: in a URL, these characters of a password are written as %20 %2F %3F and %23")
		}
	}
	if c["host"] == "" {
		c["host"] = socketFolder(c["port"])
	}
	if c["host"] == "" {
		return errors.New("it names no host, and no Postgres listens at a Unix socket of this machine: add the host")
	}
	return nil
}

func checkPorts(ports []string) error {
	for _, port := range ports {
		if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
			return errors.New("a port is not a number from 1 to 65535; in a URL, the characters / ? @ : and % of a password " +
				"are written as %2F %3F %40 %3A and %25")
		}
	}
	return nil
}

func inBrackets(variable string) string {
	if variable == "" {
		return ""
	}
	return " (" + variable + ")"
}

func orAllowed(allowed []string) string {
	if len(allowed) == 0 {
		return ""
	}
	return ", or set it to " + strings.Join(allowed, " or ")
}

// socketFolder is the folder of the socket of a server on this machine that listens at a port; empty if there is none.
func socketFolder(port string) string {
	if port == "" {
		port = "5432"
	}
	for _, folder := range []string{"/var/run/postgresql", "/run/postgresql", "/private/tmp", "/tmp"} {
		if _, err := os.Stat(filepath.Join(folder, ".s.PGSQL."+port)); err == nil {
			return folder
		}
	}
	return ""
}

// passfilePassword is the password file's entry for one of the hosts: pgx looks up the first host only.
func (c Conninfo) passfilePassword(config *pgx.ConnConfig) string {
	path := c["passfile"]
	if home, err := os.UserHomeDir(); path == "" && err == nil {
		path = filepath.Join(home, ".pgpass")
	}
	passfile, err := pgpassfile.ReadPassfile(path)
	if err != nil {
		return "" // like libpq, which continues without one
	}
	for _, one := range config.Fallbacks {
		host := one.Host
		if filepath.IsAbs(host) {
			host = "localhost"
		}
		if password := passfile.FindPassword(host, strconv.Itoa(int(one.Port)), config.Database, config.User); password != "" {
			return password
		}
	}
	return ""
}

var plainName = regexp.MustCompile(`^[a-zA-Z_]{2,40}$`)

// known refuses a keyword that libpq does not have.
func known(name string) error {
	if _, ok := keywords[name]; ok {
		return nil
	}
	if !plainName.MatchString(name) {
		return errors.New("it has something other than a keyword before an equals sign; a value with blanks is quoted, as in " +
			"password='…', and in a URL the characters / ? @ : & and % of a password are written as %2F %3F %40 %3A %26 and %25")
	}
	best, least := "", len(name)/2
	for other := range keywords {
		if distance := levenshtein.Distance(name, other, nil); distance < least || distance == least && best > other {
			best, least = other, distance
		}
	}
	if best != "" {
		return fmt.Errorf("unknown keyword %s: did you mean %s?", name, best)
	}
	return fmt.Errorf("unknown keyword %s: a setting of the server goes into options, as in options='-c %[1]s=…' "+
		"(in a URL ?options=-c%%20%[1]s%%3D…)", name)
}

// dsn formats the settings for pgx as keyword=value pairs.
func (c Conninfo) dsn() string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if keywords[name].passed && c[name] != "" {
			pairs = append(pairs, name+"='"+escape.Replace(c[name])+"'")
		}
	}
	return strings.Join(pairs, " ")
}

func uriPrefix(text string) (rest string, ok bool) {
	for _, prefix := range []string{"postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return rest, true
		}
	}
	return text, false
}

// parseURI reads a URL as libpq does (conninfo_uri_parse_options): unlike net/url it allows several hosts with ports,
// and # in a password.
func parseURI(text string) (Conninfo, error) {
	rest, _ := uriPrefix(text)
	rest, query, _ := strings.Cut(rest, "?")
	authority, database, _ := strings.Cut(rest, "/")
	c := Conninfo{}
	if login, hosts, found := strings.Cut(authority, "@"); found {
		c["user"], c["password"], _ = strings.Cut(login, ":")
		authority = hosts
	}
	var hosts, ports []string
	for _, one := range strings.Split(authority, ",") {
		var host, port string
		if inside, after, isIPv6 := strings.Cut(strings.TrimPrefix(one, "["), "]"); strings.HasPrefix(one, "[") && isIPv6 {
			host, port = inside, strings.TrimPrefix(after, ":")
		} else {
			host, port, _ = strings.Cut(one, ":")
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	if strings.Contains(database, "@") {
		return nil, errors.New("the name of the database contains @, which is written as %40; in a password, / is written as %2F")
	}
	c["host"], c["port"], c["dbname"] = strings.Join(hosts, ","), strings.Join(ports, ","), database
	if err := checkPorts(ports); err != nil { // before the rest, which may be a piece of a password
		return nil, err
	}
	for name, value := range c {
		decoded, err := url.PathUnescape(value)
		if err != nil {
			return nil, errors.New("a % is not followed by two hexadecimal digits: the character itself is written as %25")
		}
		c[name] = decoded
	}
	if strings.Trim(c["port"], ",") == "" {
		delete(c, "port")
	}
	maps.DeleteFunc(c, func(_, value string) bool { return value == "" })
	for _, pair := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' }) {
		name, value, found := strings.Cut(pair, "=")
		decodedName, err := url.PathUnescape(name)
		decodedValue, err2 := url.PathUnescape(value)
		if !found || err != nil || err2 != nil {
			return nil, errors.New("what follows the ? are not pairs of keyword=value; in a password a ? is written as %3F")
		}
		if decodedName == "ssl" && decodedValue == "true" { // JDBC's
			decodedName, decodedValue = "sslmode", "require"
		}
		if err := c.add(decodedName, decodedValue); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add adds a pair.
func (c Conninfo) add(name, value string) error {
	if name == "database" { // pgx's
		name = "dbname"
	}
	if err := known(name); err != nil {
		return err
	}
	c[name] = value
	return nil
}

// pair matches keyword = value or keyword = 'quoted value' at the start of a text.
var pair = regexp.MustCompile(`^\s*([^=\s]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)(?:\s+|$)`)

// parsePairs reads keyword=value pairs as libpq does (conninfo_parse).
func parsePairs(text string) (Conninfo, error) {
	c := Conninfo{}
	unescape := regexp.MustCompile(`\\(.)`)
	for rest := strings.TrimSpace(text); rest != ""; {
		match := pair.FindStringSubmatch(rest)
		if match == nil {
			return nil, errors.New("it is not a list of keyword=value pairs; quote a value with spaces, as in password='…', " +
				`where ' and \ are written as \' and \\`)
		}
		value := match[2]
		if strings.HasPrefix(value, "'") {
			value = value[1 : len(value)-1]
		}
		if err := c.add(match[1], unescape.ReplaceAllString(value, "$1")); err != nil {
			if c["password"] != "" { // this may be a part of it
				return nil, errors.New("an unknown keyword follows the password: a password with blanks is quoted, as in password='…'")
			}
			return nil, err
		}
		rest = rest[len(match[0]):]
	}
	return c, nil
}
