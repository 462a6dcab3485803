package warehouse_test

import (
	"strings"
	"testing"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/internal/warehouse/embedded"
	"consentpipeline.io/test/warehousetest"
)

func TestSchemaAndRolesOnOtherVersions(t *testing.T) {
	warehousetest.RerunOnOtherVersions(t, "TestConcurrentMigrations", "TestOpenWaitsForTheSchema", "TestCreateRightSuffices",
		"TestMissingRightsNameGrantor", "TestSessionSettings", "TestTransientErrors",
		"TestRoleRights", "TestRolesWithoutSuperuser", "TestInstallationsShareRoles",
		"TestChangedPasswordIsWaitedFor", "TestAvailableConnections", "TestParametersBecomeText", "TestSlowCompression")
}

// TestOldVersionsAreRefused checks that a server on which the schema would not work is refused at once, before anything
// is made.
func TestOldVersionsAreRefused(t *testing.T) {
	const major = "14"
	warehousetest.NeedVersion(t, major)
	server, err := embedded.Start(t.Context(), embedded.Options{Major: major, Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	want := "the server is Postgres 14: 15 or newer is needed"
	if _, err := warehouse.Migrate(t.Context(), config(server.URL())); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
	var schemas int
	if err := connect(t, server.URL()).QueryRow(t.Context(), "select count(*) from pg_namespace where nspname in ('raw', 'analytics')").
		Scan(&schemas); err != nil || schemas > 0 {
		t.Errorf("%d schemas were made, %v", schemas, err)
	}
}
