package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var pinned = regexp.MustCompile(`(?m)^([a-z0-9_.-]+)(?:\[[^]]*\])?==([^ \n]+)`)

// pythonPackages lists the packages of tools/requirements.txt, with the licences that pip has installed with them in .venv.
func pythonPackages(root string) ([]component, error) {
	requirements, err := os.ReadFile(filepath.Join(root, "tools/requirements.txt"))
	if err != nil {
		return nil, err
	}
	installed, err := filepath.Glob(filepath.Join(root, ".venv/lib/python3.*/site-packages/*.dist-info"))
	if err != nil {
		return nil, err
	}
	folders := map[string]string{}
	for _, dir := range installed {
		name, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(dir), ".dist-info"), "-")
		folders[canonical(name)+" "+version] = dir
	}
	var packages []component
	var failures []error
	for _, match := range pinned.FindAllStringSubmatch(string(requirements), -1) {
		p := component{name: match[1], version: match[2]}
		dir, ok := folders[canonical(p.name)+" "+p.version]
		if !ok {
			failures = append(failures, fmt.Errorf("%s is not in .venv: run `make venv`", p))
			continue
		}
		metadata, err := os.ReadFile(filepath.Join(dir, "METADATA"))
		if err != nil {
			return nil, err
		}
		p.declared = declaredLicence(metadata)
		if p.texts, err = textsBelow(dir); err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
	return packages, errors.Join(failures...)
}

// canonical is the form of a package's name in which its spellings are equal (PEP 503).
func canonical(name string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
}

// declaredLicence returns the licence in a package's METADATA: the expression of PEP 639, or else the older field of one line.
func declaredLicence(metadata []byte) string {
	licence := ""
	for scanner := bufio.NewScanner(bytes.NewReader(metadata)); scanner.Scan() && scanner.Text() != ""; {
		if expression, ok := strings.CutPrefix(scanner.Text(), "License-Expression: "); ok {
			return expression
		}
		if field, ok := strings.CutPrefix(scanner.Text(), "License: "); ok {
			licence = field
		}
	}
	return licence
}

func textsBelow(dir string) ([]text, error) {
	var texts []text
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		found, err := licenceFiles(dir, path)
		texts = append(texts, found...)
		return err
	})
	return texts, err
}
