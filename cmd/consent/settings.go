package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// readSettings sets each flag that is not on the command line from the environment or the configuration file.
//
// An unknown key in the file is an error. An unknown CONSENT_ variable is not: Kubernetes sets such variables for
// services whose names begin with "consent". A database on the command line overrides one in the environment or the file.
func readSettings(cmd *cobra.Command, file string) error {
	v := viper.New()
	v.SetEnvPrefix("CONSENT")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if file == "" && !cmd.Flags().Changed("config") {
		file = v.GetString("config")
	}
	if file != "" {
		if err := readSettingsFile(v, file, knownSettings(cmd.Root())); err != nil {
			return err
		}
	}
	var failed error
	databaseGiven := cmd.Flags().Changed("database-url") || cmd.Flags().Changed("data-dir")
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || !v.IsSet(flag.Name) || failed != nil {
			return
		}
		if databaseGiven && (flag.Name == "database-url" || flag.Name == "data-dir") {
			return
		}
		if err := setFlag(cmd.Flags(), flag, v); err != nil {
			failed = fmt.Errorf("the setting %s (--%s, %s or a key of --config): %w", flag.Name, flag.Name,
				variable(flag.Name), err)
		}
	})
	return failed
}

// variable is the environment variable of a setting.
func variable(setting string) string {
	return "CONSENT_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

func setFlag(flags *pflag.FlagSet, flag *pflag.Flag, v *viper.Viper) error {
	// A list in the file is a list already; a variable has commas, like the flag.
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		if _, isText := v.Get(flag.Name).(string); !isText {
			flag.Changed = true
			return list.Replace(v.GetStringSlice(flag.Name))
		}
	}
	return flags.Set(flag.Name, v.GetString(flag.Name))
}

func readSettingsFile(v *viper.Viper, file string, known []string) error {
	v.SetConfigFile(file)
	if err := v.ReadInConfig(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the configuration file %s does not exist", file)
		}
		return fmt.Errorf("the configuration file %s: %w", file, err)
	}
	if err := readYAMLNull(v, file); err != nil {
		return fmt.Errorf("the configuration file %s: %w", file, err)
	}
	for _, key := range v.AllKeys() { // only the file's keys: viper looks variables up on demand
		if !slices.Contains(known, key) {
			return fmt.Errorf("the configuration file %s: unknown key %s%s", file, key, suggest(key, known))
		}
	}
	return nil
}

// readYAMLNull reads the key null and its texts, such as NULL, as text: without quotes YAML reads them as null.
func readYAMLNull(v *viper.Viper, file string) error {
	if ext := filepath.Ext(file); ext != ".yaml" && ext != ".yml" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return err
	}
	if len(document.Content) == 0 {
		return nil
	}
	settings := document.Content[0].Content
	for i := 0; i+1 < len(settings); i += 2 {
		if settings[i].Value != "null" {
			continue
		}
		var value any = settings[i+1].Value
		if settings[i+1].Kind == yaml.SequenceNode {
			texts := []string{}
			for _, text := range settings[i+1].Content {
				texts = append(texts, text.Value)
			}
			value = texts
		}
		return v.MergeConfigMap(map[string]any{"null": value})
	}
	return nil
}

// knownSettings are the flags of all commands, because several commands may share one file.
func knownSettings(root *cobra.Command) []string {
	var known []string
	add := func(flag *pflag.Flag) {
		if flag.Name != "help" && flag.Name != "config" {
			known = append(known, flag.Name)
		}
	}
	root.PersistentFlags().VisitAll(add)
	for _, cmd := range root.Commands() {
		cmd.LocalNonPersistentFlags().VisitAll(add)
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// suggest names the setting that was probably meant.
func suggest(key string, known []string) string {
	best, least := "", len(key)/2+1
	for _, name := range known {
		if distance := levenshtein.Distance(key, name, nil); distance < least {
			best, least = name, distance
		}
	}
	if best == "" {
		return "; the keys are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

func newConfigCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show the effective settings of each command, from the environment, --config and the defaults",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := effectiveSettings(cmd.Root(), a.config)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return writeJSON(a.stdout, settings)
			}
			t := newTable("COMMAND", "SETTING", "VALUE", "FROM", "EXPLANATION")
			for _, s := range settings {
				t.add(s.Command, s.Name, s.Value, s.From, s.Usage)
			}
			return t.write(a.stdout)
		},
	}
}

// A setting is one flag of one command with its effective value.
type setting struct {
	Command string `json:"command"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	From    string `json:"from"` // default, environment or file
	Usage   string `json:"usage"`
}

func effectiveSettings(root *cobra.Command, file string) ([]setting, error) {
	var settings []setting
	for _, cmd := range root.Commands() {
		if cmd.Name() == "config" || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		if err := readSettings(cmd, file); err != nil {
			return nil, err
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
			if flag.Name == "help" {
				return
			}
			value := flag.Value.String()
			switch flag.Name {
			case "database-url":
				value = withoutPassword(value)
			case "source", "input":
				value = withoutQuery(value)
			}
			_, usage := pflag.UnquoteUsage(flag)
			from := "default"
			switch {
			case flag.Changed && os.Getenv(variable(flag.Name)) != "":
				from = "environment"
			case flag.Changed:
				from = "file"
			}
			settings = append(settings, setting{Command: cmd.Name(), Name: flag.Name, Value: value, From: from, Usage: usage})
		})
	}
	return settings, nil
}

// withoutQuery is the place of files as it can be shown: a query may be a signature.
func withoutQuery(place string) string {
	if !strings.HasPrefix(place, "http") || !strings.Contains(place, "://") {
		return place
	}
	u, err := url.Parse(place)
	if err != nil {
		return "(not valid)"
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.String()
}
