package main

import (
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
)

// psqlCommand is a POSIX shell command that runs a query on the database with psql. It shows no password: if only the
// URL has it, psql prompts for it.
func (d *database) psqlCommand(query string) string {
	var absent, words []string
	switch {
	case d.server != nil:
		absent = d.server.Cleared()
		words = append(words, "PGPASSFILE="+quoted(d.server.PassFile()))
	case d.PasswordFile != "":
		words = append(words, `PGPASSWORD="$(cat `+quoted(d.PasswordFile)+`)"`)
	}
	if d.server == nil {
		given, _ := warehouse.ParseConninfo(d.URL) // an invalid URL has failed before
		if file := given["servicefile"]; file != "" {
			words = append(words, "PGSERVICEFILE="+quoted(file)) // a connection parameter only since libpq 18
		}
		if os.Getenv("PGHOSTADDR") != "" && given["hostaddr"] == "" {
			absent = append(absent, "PGHOSTADDR") // it is the address of another host
		}
	}
	if len(absent) > 0 {
		words = append([]string{"env -u " + strings.Join(absent, " -u ")}, words...)
	}
	return strings.Join(append(words, "psql", "-d", quoted(d.safeURL()), "-c", quoted(query)), " ")
}

// keptSettings are the connection parameters that a URL without a password keeps, besides host, port, user and database.
var keptSettings = []string{
	"service", "hostaddr", "sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslcertmode", "sslsni",
	"channel_binding", "require_auth", "target_session_attrs", "passfile", "krbsrvname", "connect_timeout", "options",
}

// withoutPassword rewrites a URL or DSN as a URL that psql and pgx read and that can be shown.
func withoutPassword(connection string) string {
	if connection == "" {
		return ""
	}
	config, err := pgx.ParseConfig(connection)
	if err != nil {
		return "(not valid)"
	}
	// For each host there is one entry without TLS and one with it where the mode allows both.
	hosts, ports := []string{config.Host}, []string{strconv.Itoa(int(config.Port))}
	for _, other := range config.Fallbacks {
		if port := strconv.Itoa(int(other.Port)); other.Host != hosts[len(hosts)-1] || port != ports[len(ports)-1] {
			hosts, ports = append(hosts, other.Host), append(ports, port)
		}
	}
	u := url.URL{Scheme: "postgres", User: url.User(config.User), Path: "/" + config.Database}
	var parameters []string
	if slices.ContainsFunc(hosts, func(host string) bool { return !plainHost.MatchString(host) }) {
		// The folder of a socket cannot be the host of a URL.
		parameters = append(parameters, parameter("host", strings.Join(hosts, ",")), parameter("port", strings.Join(ports, ",")))
	} else {
		for i, host := range hosts {
			hosts[i] = net.JoinHostPort(host, ports[i])
		}
		u.Host = strings.Join(hosts, ",")
	}
	given, err := warehouse.ParseConninfo(connection)
	if err != nil {
		return "(not valid)"
	}
	for _, name := range keptSettings {
		if value := given[name]; value != "" {
			parameters = append(parameters, parameter(name, value))
		}
	}
	u.RawQuery = strings.Join(parameters, "&")
	return u.String()
}

// plainHost matches a name, an IPv4 or an IPv6 address without a zone.
var plainHost = regexp.MustCompile(`^[\w.:-]+$`)

// parameter writes a parameter of a URL as libpq reads it: a blank is not a plus sign.
func parameter(name, value string) string {
	return name + "=" + strings.NewReplacer("+", "%20", "%2F", "/", "%2C", ",").Replace(url.QueryEscape(value))
}

// plainWord matches a word without characters that are special in a shell.
var plainWord = regexp.MustCompile(`^[\w@%+:,./-]+$`)

// quoted quotes a word for a POSIX shell.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
