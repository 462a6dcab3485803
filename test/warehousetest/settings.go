package warehousetest

import (
	"context"
	"maps"
	"testing"

	"github.com/jackc/pgx/v5"
)

// HostileSettings are settings of a role or a database that change how text is parsed or printed; with timeouts also
// settings that end sessions and statements at once. The values are SQL.
func HostileSettings(timeouts bool) map[string]string {
	settings := map[string]string{
		"client_encoding":                "'LATIN1'",
		"datestyle":                      "'German, DMY'",
		"intervalstyle":                  "'iso_8601'",
		"timezone":                       "'Asia/Tokyo'",
		"standard_conforming_strings":    "off",
		"backslash_quote":                "off",
		"bytea_output":                   "'escape'",
		"extra_float_digits":             "-15",
		"search_path":                    "nowhere",
		"default_transaction_isolation":  "'repeatable read'",
		"default_transaction_deferrable": "on",
		"default_toast_compression":      "'pglz'",
		"row_security":                   "off",
		"session_replication_role":       "'replica'",
		"password_encryption":            "'md5'",
		"jit_above_cost":                 "0",
		"array_nulls":                    "off",
		"quote_all_identifiers":          "on",
		"transform_null_equals":          "on",
		"client_min_messages":            "'error'",
		"lc_monetary":                    "'C'",
	}
	if timeouts {
		maps.Copy(settings, map[string]string{
			"statement_timeout":                   "1",
			"lock_timeout":                        "1",
			"idle_session_timeout":                "1",
			"idle_in_transaction_session_timeout": "1",
			"transaction_timeout":                 "100",
		})
	}
	return settings
}

// Set changes the settings of a database for new sessions. It skips settings that the server does not know.
func Set(t testing.TB, database string, settings map[string]string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	// An earlier call may have turned this on.
	if _, err := conn.Exec(ctx, "set default_transaction_read_only = off"); err != nil {
		t.Fatal(err)
	}
	name := pgx.Identifier{conn.Config().Database}.Sanitize()
	for setting, value := range settings {
		var known bool
		if err := conn.QueryRow(ctx, "select exists (select from pg_settings where lower(name) = $1)", setting).Scan(&known); err != nil {
			t.Fatal(err)
		}
		if !known {
			continue
		}
		if _, err := conn.Exec(ctx, "alter database "+name+" set "+setting+" = "+value); err != nil {
			t.Fatal(err)
		}
	}
}
