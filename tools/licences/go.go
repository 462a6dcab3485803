package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// platforms are those of the release. The modules in the program differ by the operating system.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}

// isLicence matches the names of files whose text has to be shipped.
var isLicence = regexp.MustCompile(`(?i)^(.*[-_.])?(licen[cs]e|copying|notice|unlicense)([-_.].*)?$`)

// goModules lists the modules of the program's packages on all platforms, and Go itself.
func goModules(root string) ([]component, error) {
	folders := map[string][]string{} // by module and version: the module's folder, then those of its packages
	for _, platform := range platforms {
		goos, goarch, _ := strings.Cut(platform, "/")
		list := exec.Command("go", "list", "-deps", "-f",
			"{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}", "./cmd/consent")
		list.Dir, list.Env, list.Stderr = root, append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly"), os.Stderr
		output, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", platform, err)
		}
		for line := range strings.Lines(string(output)) {
			if fields := strings.Split(strings.TrimSpace(line), "\t"); len(fields) == 3 {
				if folders[fields[0]] == nil {
					folders[fields[0]] = []string{fields[1]}
				}
				folders[fields[0]] = append(folders[fields[0]], fields[2])
			}
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	folders["Go standard-library"] = []string{string(bytes.TrimSpace(goroot))}
	var modules []component
	for id, dirs := range folders {
		name, version, _ := strings.Cut(id, " ")
		module := component{name: name, version: version}
		for _, dir := range upwards(dirs[0], dirs[1:]) {
			texts, err := licenceFiles(dirs[0], dir)
			if err != nil {
				return nil, err
			}
			module.texts = append(module.texts, texts...)
		}
		modules = append(modules, module)
	}
	return modules, nil
}

// upwards returns the root and all folders between it and the packages: a package copied from elsewhere has a licence of its own.
func upwards(root string, packages []string) []string {
	all := []string{root}
	for _, dir := range packages {
		for ; len(dir) > len(root); dir = filepath.Dir(dir) {
			all = append(all, dir)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// licenceFiles reads the files of licences in one folder.
func licenceFiles(root, dir string) ([]text, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var texts []text
	for _, entry := range entries {
		if entry.IsDir() || !isLicence.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		file := filepath.Join(dir, entry.Name())
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text{filepath.ToSlash(name), string(content)})
	}
	return texts, nil
}
