package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"gopkg.in/ini.v1"
)

// awsSettings are the settings of a store, from the environment and the configuration file that all tools of AWS share:
// https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html.
type awsSettings struct {
	endpoint *url.URL
	region   string // empty to ask Amazon S3 for the bucket's
	profile  string
	ca       string
	config   *ini.File
}

const amazonS3 = "s3.amazonaws.com"

func readAWSSettings() (s awsSettings, err error) {
	s.profile = cmp.Or(os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE"), "default")
	file := sharedFile("AWS_CONFIG_FILE", "config")
	s.config, err = loadShared(file)
	if err != nil {
		return s, fmt.Errorf("read the AWS configuration %s: %w", file, err)
	}
	profile := s.section()
	services := s.config.Section("services " + profile.Key("services").String()).Key("s3").String()
	address := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"),
		nestedValue(services, "endpoint_url"), profile.Key("endpoint_url").String())
	s.region = cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), profile.Key("region").String())
	s.ca = cmp.Or(os.Getenv("AWS_CA_BUNDLE"), profile.Key("ca_bundle").String())
	if address == "" {
		s.endpoint = &url.URL{Scheme: "https", Host: amazonS3}
		return s, nil
	}
	s.endpoint, err = url.Parse(address)
	if err != nil || s.endpoint.Host == "" || s.endpoint.Scheme != "https" && s.endpoint.Scheme != "http" ||
		s.endpoint.User != nil || s.endpoint.RawQuery != "" || strings.Trim(s.endpoint.Path, "/") != "" {
		address, _, _ = strings.Cut(address, "?") // what follows, and what is before an @, may be secret
		if at := strings.LastIndex(address, "@"); at >= 0 {
			address = "…" + address[at:]
		}
		return s, fmt.Errorf("the store's address %q (AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL): expected https://HOST or https://HOST:PORT", address)
	}
	s.endpoint.Path = ""
	s.region = cmp.Or(s.region, "us-east-1") // other stores need one to sign with, and most do not care which
	return s, nil
}

// loadShared reads a file that the tools of AWS share. A missing file is an empty one. Lines that are indented belong to the
// key above.
func loadShared(file string) (*ini.File, error) {
	return ini.LoadSources(ini.LoadOptions{Loose: true, AllowPythonMultilineValues: true}, file)
}

// section is the profile's section of the configuration file.
func (s *awsSettings) section() *ini.Section {
	if s.profile == "default" && s.config.HasSection("default") {
		return s.config.Section("default")
	}
	return s.config.Section("profile " + s.profile)
}

// nestedValue reads KEY = VALUE from the indented lines below a key.
func nestedValue(lines, key string) string {
	for line := range strings.Lines(lines) {
		if name, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// sharedFile is a file that all tools of AWS share, by its variable or in the home directory.
func sharedFile(variable, name string) string {
	if file := os.Getenv(variable); file != "" {
		return file
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".aws", name)
}

// s3Credentials finds credentials: in the options' folder, or where the tools of AWS look for them, in their order.
func s3Credentials(o Options, s awsSettings, t *transport) (*credentials.Credentials, error) {
	switch {
	case o.Anonymous && o.Credentials != "":
		return nil, errors.New("--source-anonymous and --source-credentials exclude each other: keep one of them")
	case o.Anonymous:
		return credentials.NewStaticV4("", "", ""), nil
	case o.Credentials != "":
		return credentials.New(&credentialFiles{dir: o.Credentials}), nil
	case os.Getenv("AWS_ACCESS_KEY_ID") != "":
		return credentials.NewEnvAWS(), nil
	case os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		// IRSA, and other identities of the web.
		return credentials.New(&credentials.IAM{
			Client: serviceClient(t), Endpoint: os.Getenv("AWS_ENDPOINT_URL_STS"), Region: s.region,
		}), nil
	}
	for _, file := range []string{sharedFile("AWS_SHARED_CREDENTIALS_FILE", "credentials"), sharedFile("AWS_CONFIG_FILE", "config")} {
		content, err := loadShared(file)
		if err != nil {
			return nil, fmt.Errorf("read the AWS credentials %s: %w", file, err)
		}
		for _, name := range []string{s.profile, "profile " + s.profile} {
			section := content.Section(name)
			if section.HasKey("aws_access_key_id") || section.HasKey("credential_process") || section.HasKey("sso_account_id") {
				return credentials.NewFileAWSCredentials("", s.profile), nil
			}
			if section.HasKey("role_arn") {
				return nil, fmt.Errorf("the AWS profile %s in %s assumes a role, which is not supported: "+
					"export its credentials into the environment (aws configure export-credentials --format env)", s.profile, file)
			}
		}
	}
	if os.Getenv("AWS_PROFILE") != "" {
		return nil, fmt.Errorf("the AWS profile %s has no credentials in the files of ~/.aws: add them, or unset AWS_PROFILE", s.profile)
	}
	container := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "" || os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != ""
	if !container && strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		return nil, errors.New(noCredentials)
	}
	direct := &transport{} // such a service is near, and never behind a proxy
	if container {
		return credentials.New(&credentials.IAM{Client: serviceClient(direct)}), nil
	}
	return credentials.New(&instanceCredentials{credentials.IAM{
		Client: serviceClient(direct), Endpoint: strings.TrimSuffix(os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "/"),
	}}), nil
}

const noCredentials = "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in " +
	"~/.aws, or --source-credentials DIR; for a public bucket, --source-anonymous"

// serviceClient returns a client for a service that gives credentials.
func serviceClient(t *transport) *http.Client {
	return &http.Client{Transport: serviceTransport{t}, Timeout: 5 * time.Second}
}

// A serviceTransport makes an answer that may be another one later an error that says so.
type serviceTransport struct{ http.RoundTripper }

func (s serviceTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.RoundTripper.RoundTrip(request)
	if err == nil && (response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests) {
		_ = response.Body.Close()
		return nil, transient(fmt.Errorf("%s, which gives credentials for S3, answers %s", request.URL.Host, response.Status))
	}
	return response, err
}

// instanceCredentials are those of an EC2 instance. On another machine their service does not answer.
type instanceCredentials struct{ credentials.IAM }

func (i *instanceCredentials) RetrieveWithCredContext(c *credentials.CredContext) (credentials.Value, error) {
	value, err := i.IAM.RetrieveWithCredContext(c)
	var marked *Error
	if err != nil && !errors.As(err, &marked) {
		err = misconfigured(fmt.Errorf("%s (EC2's metadata service: %w)", noCredentials, err))
	}
	return value, err
}

func (i *instanceCredentials) Retrieve() (credentials.Value, error) {
	return i.RetrieveWithCredContext(nil)
}

// credentialsAge is how long the files of credentials hold. Tests shorten it.
var credentialsAge = time.Minute

// credentialFiles are credentials in the files of a folder. They are read again every minute, as a mounted Secret changes.
type credentialFiles struct {
	credentials.Expiry
	dir string
}

// readCredential reads the first of some files that exists; empty if none does.
func readCredential(dir string, names ...string) (string, error) {
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read the credentials: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	return "", nil
}

func (c *credentialFiles) RetrieveWithCredContext(*credentials.CredContext) (v credentials.Value, err error) {
	v.SignerType = credentials.SignatureV4
	var errs [3]error
	v.AccessKeyID, errs[0] = readCredential(c.dir, "AWS_ACCESS_KEY_ID", "access-key-id")
	v.SecretAccessKey, errs[1] = readCredential(c.dir, "AWS_SECRET_ACCESS_KEY", "secret-access-key")
	v.SessionToken, errs[2] = readCredential(c.dir, "AWS_SESSION_TOKEN", "session-token")
	if err := errors.Join(errs[:]...); err != nil {
		return v, err
	}
	if v.AccessKeyID == "" || v.SecretAccessKey == "" {
		return v, fmt.Errorf("the folder %s needs the files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "+
			"(or access-key-id and secret-access-key), not empty", c.dir)
	}
	c.SetExpiration(time.Now().Add(credentialsAge), 0)
	return v, nil
}

func (c *credentialFiles) Retrieve() (credentials.Value, error) {
	return c.RetrieveWithCredContext(nil)
}
