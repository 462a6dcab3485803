package source

import (
	"fmt"
	"net/url"
	"strings"
)

// Options are settings of sources other than folders.
type Options struct {
	// List is the path, below an https source, of a list of its files.
	List string
	// Credentials is a folder with files of credentials, as a mounted Secret has them.
	Credentials string
	// CA is a file of PEM certificates to trust in addition to the system's.
	CA string
	// Anonymous is true if requests to an s3 source are not signed.
	Anonymous bool
	// PublicOnly is true if an https source may not connect to private, loopback and link-local addresses.
	PublicOnly bool
}

// Open opens a source: a folder, or s3://BUCKET/PREFIX, or https://HOST/PATH/. It sends no request to a server.
func Open(place string, o Options) (Source, error) {
	scheme, rest, isURL := strings.Cut(place, "://")
	if !isURL {
		if o != (Options{PublicOnly: o.PublicOnly}) {
			return nil, fmt.Errorf("a folder has no list, credentials and CA: leave them out, or give an s3:// or https:// source")
		}
		return OpenFolder(place)
	}
	if strings.EqualFold(scheme, "s3") {
		return openS3(rest, o)
	}
	u, err := url.Parse(place)
	if err != nil {
		return nil, fmt.Errorf("the source %s://… is not a valid URL", scheme) // the error would quote a query with secrets
	}
	if u.User != nil {
		return nil, fmt.Errorf("the source %s://%s has a user name: put credentials into files, --source-credentials DIR", scheme, u.Host)
	}
	switch strings.ToLower(scheme) {
	case "https", "http":
		return openWeb(u, o)
	case "file":
		return OpenFolder(u.Path)
	}
	return nil, fmt.Errorf("the source %s://… has an unknown scheme: give a folder, s3://BUCKET/PREFIX or https://HOST/PATH/", scheme)
}
