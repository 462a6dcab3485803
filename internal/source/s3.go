package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// An S3 is a source whose files are the objects of a bucket below a prefix, in Amazon S3 or another store that speaks its
// protocol.
type S3 struct {
	*transport
	client         minio.Core
	bucket, prefix string // the prefix is empty or ends with a slash
	creds          *credentials.Credentials
	anonymous      bool
	endpoint       *url.URL
}

// openS3 opens a place of the form BUCKET/PREFIX. As with the tools of AWS, a prefix has no escapes: %3A is three characters.
func openS3(place string, o Options) (Source, error) {
	bucket, prefix, _ := strings.Cut(place, "/")
	if strings.Contains(bucket, "@") {
		return nil, errors.New("the source s3://… has a user name: put credentials into files, --source-credentials DIR")
	}
	if bucket == "" || strings.ContainsAny(bucket, ":?#") {
		bucket, _, _ = strings.Cut(bucket, "?")
		return nil, fmt.Errorf("the source s3://%s…: expected s3://BUCKET/PREFIX; the address of the store is AWS_ENDPOINT_URL_S3", bucket)
	}
	if o.List != "" {
		return nil, errors.New("an s3 source lists its objects itself: leave --source-list out")
	}
	settings, err := readAWSSettings()
	if err != nil {
		return nil, err
	}
	o.CA = cmp.Or(o.CA, settings.ca)
	o.PublicOnly = false // the store's address is a setting, and its client follows no redirect
	t, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	creds, err := s3Credentials(o, settings, t)
	if err != nil {
		return nil, err
	}
	tries := 1
	if settings.region == "" {
		tries = 2 // the second after an answer that names the bucket's region
	}
	client, err := minio.NewCore(settings.endpoint.Host, &minio.Options{
		Creds: creds, Secure: settings.endpoint.Scheme == "https", Region: settings.region, Transport: storeTransport{t}, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("the store %s: %w", settings.endpoint, err)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return &S3{transport: t, client: *client, creds: creds, anonymous: o.Anonymous, bucket: bucket, prefix: prefix, endpoint: settings.endpoint}, nil
}

// A storeTransport refuses a page for browsers in place of a listing. The client would take it for an empty one.
type storeTransport struct{ *transport }

func (s storeTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.transport.RoundTrip(request)
	if err == nil && request.URL.Query().Has("list-type") && strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") &&
		response.StatusCode == http.StatusOK {
		_ = response.Body.Close()
		return nil, misconfigured(fmt.Errorf("%s answers with a web page, so it does not speak the protocol of S3: correct AWS_ENDPOINT_URL_S3",
			request.URL.Host))
	}
	return response, err
}

// signIn gets credentials, or renews them when they expire. Without it, the client's errors would not say that it was the
// credentials that could not be had.
func (s *S3) signIn(ctx context.Context) error {
	with := s.client.CredContext()
	with.Context = ctx
	value, err := s.creds.GetWithContext(with)
	if err == nil && !s.anonymous && (value.AccessKeyID == "" || value.SecretAccessKey == "") {
		err = errors.New("they have no access key or no secret, such as AWS_SECRET_ACCESS_KEY: give both") // else they would be ignored
	}
	var marked *Error
	var request *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &marked), errors.As(err, &request), ctx.Err() != nil:
		return connectionError("the service that gives credentials for "+s.endpoint.Host, cmp.Or(ctx.Err(), err))
	}
	return misconfigured(fmt.Errorf("%s: get credentials: %w", s, err))
}

// ID is s3://, the bucket and the prefix, wherever the store is.
func (s *S3) ID() string { return "s3://" + s.bucket + "/" + s.prefix }

// String is the ID, and the store's address if it is not Amazon's.
func (s *S3) String() string {
	if strings.HasSuffix(s.endpoint.Hostname(), ".amazonaws.com") {
		return s.ID()
	}
	return s.ID() + " at " + s.endpoint.String()
}

// Close closes idle connections.
func (s *S3) Close() error {
	s.CloseIdleConnections()
	return nil
}

// List finds objects. A pattern costs the pages of what its fixed beginning covers. A path that exists is that object,
// whatever characters it has.
func (s *S3) List(ctx context.Context, pathOrGlob string) (Listing, error) {
	glob, globErr := parsePattern(pathOrGlob)
	if pathOrGlob != AllFiles {
		o, err := object{}, ErrNoMatch
		if !isFolderName(pathOrGlob) {
			o, err = s.stat(ctx, pathOrGlob)
		}
		switch {
		case err == nil:
			return Listing{Files: []Entry{{Path: pathOrGlob, Size: o.size, Version: o.version}}}, nil
		case isDenied(err) && !isGlob(pathOrGlob):
			return Listing{Files: []Entry{{Path: pathOrGlob}}}, nil // only this one: others may be readable, and Open says why
		case !errors.Is(err, ErrNoMatch):
			return Listing{}, err
		case !isGlob(pathOrGlob):
			return Listing{}, s.explainMissing(ctx, pathOrGlob)
		}
	}
	if globErr != nil {
		return Listing{}, globErr
	}
	l, err := s.list(ctx, glob)
	switch {
	case err != nil || len(l.Files) > 0:
	case pathOrGlob != AllFiles:
		err = l.noMatch(pathOrGlob, s)
	case s.prefix != "":
		err = s.explainObject(ctx)
	}
	return l, err
}

// isFolderName reports whether a path is that of an object that stands for a folder, as consoles make them, or of the source.
func isFolderName(name string) bool { return name == "" || strings.HasSuffix(name, "/") }

func (s *S3) list(ctx context.Context, glob pattern) (l Listing, err error) {
	err = s.pages(ctx, glob.prefix(), 0, func(key minio.ObjectInfo) {
		name := strings.TrimPrefix(key.Key, s.prefix)
		switch matches, hidden := glob.match(name); {
		case !matches || isFolderName(name):
		case hidden == "":
			l.Files = append(l.Files, Entry{Path: name, Size: key.Size, Version: versionOf(key.ETag, key.LastModified, key.Size)})
		default:
			l.ignoreHidden(hidden, hidden != name)
		}
	})
	return l, err
}

// pages calls found for each object whose path begins with a prefix, in the order of their keys, and for at most limit of
// them if it is not 0. After an error that may pass it goes on behind the last object.
func (s *S3) pages(ctx context.Context, prefix string, limit int, found func(minio.ObjectInfo)) error {
	last := ""
	for failures := 1; ; failures++ {
		before := last
		err := s.listAfter(ctx, s.prefix+prefix, limit, &last, found)
		var marked *Error
		if !errors.As(err, &marked) || !marked.Transient {
			return err
		}
		if last != before {
			failures = 1
		}
		if failures == maxAttempts {
			return transient(fmt.Errorf("%w (after %d attempts)", marked.err, failures))
		}
		if err := pause(ctx, failures, 0); err != nil {
			return Wrap(err)
		}
	}
}

// listAfter lists the objects behind the key last, which it moves on.
func (s *S3) listAfter(ctx context.Context, prefix string, limit int, last *string, found func(minio.ObjectInfo)) error {
	if err := s.signIn(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: *last, MaxKeys: limit}
	n, earlier := 0, "" // a key of before, each time n is a power of two: it comes again if the pages go round
	for key := range s.client.ListObjectsIter(ctx, s.bucket, options) {
		switch {
		case key.Err != nil:
			return s.explain("its objects cannot be listed", key.Err)
		case key.Key == earlier:
			return misconfigured(fmt.Errorf("%s lists %q again and again: the store does not go on to the next page (continuation-token), "+
				"so its listing has no end", s, key.Key))
		case n&(n-1) == 0:
			earlier = key.Key
		}
		found(key)
		*last = key.Key
		if n++; n == limit {
			break
		}
	}
	return Wrap(ctx.Err())
}

// explainObject returns an error if the source, which has no objects, is one itself.
func (s *S3) explainObject(ctx context.Context) error {
	folder, name := path.Split(strings.TrimSuffix(s.prefix, "/"))
	above := *s
	above.prefix = folder
	if _, err := above.stat(ctx, name); err == nil {
		return misconfigured(fmt.Errorf("%s is an object: give the folder as the source, and %s as the file: --source %s %[2]s",
			strings.TrimSuffix(s.ID(), "/"), name, above.ID()))
	}
	return nil // the caller reports that there is no object, which an error of stat would only repeat
}

// explainMissing returns the error for a path without an object: the bucket's, if there is none; that it is a folder; or
// ErrNoMatch.
func (s *S3) explainMissing(ctx context.Context, name string) error {
	isFolder := false
	err := s.pages(ctx, strings.TrimSuffix(name, "/")+"/", 1, func(minio.ObjectInfo) { isFolder = true })
	switch {
	case err != nil:
		return err
	case isFolder:
		return fmt.Errorf("the path %q is a folder: name its files, for example %s", name, path.Join(name, "*.csv"))
	}
	return Listing{}.noMatch(name, s)
}

// Open opens an object.
func (s *S3) Open(ctx context.Context, entry Entry) (File, error) {
	f, err := openObject(ctx, s, entry.Path)
	if errors.Is(err, ErrNoMatch) {
		// It was listed, so it was deleted since, or the listing is old.
		return nil, transient(fmt.Errorf("the object is listed in %s but no longer there: run again", s))
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// stat implements objectStore.
func (s *S3) stat(ctx context.Context, name string) (o object, err error) {
	err = attempts(ctx, func() (time.Duration, error) {
		if err := s.signIn(ctx); err != nil {
			return 0, err
		}
		info, err := s.client.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{})
		if err != nil {
			return 0, s.explain("the object cannot be looked up", err)
		}
		o = object{size: info.Size, version: versionOf(info.ETag, info.LastModified, info.Size), condition: info.ETag}
		if info.ETag == "" && !isSettled(info.LastModified, info.Headers) {
			return 0, transient(fmt.Errorf("%s: the object was written in this second and has no ETag", s))
		}
		return 0, nil
	})
	if isDenied(err) {
		// A response to HEAD has no body, so it does not say why. That of a listing does.
		if why := s.pages(ctx, name, 1, func(minio.ObjectInfo) {}); why != nil {
			return o, why
		}
		err = &Error{denied: true, err: errors.New(err.Error())} // only this object may be refused: others are loaded
	}
	return o, err
}

// isDenied reports whether a request was refused without a reason.
func isDenied(err error) bool {
	var marked *Error
	return errors.As(err, &marked) && marked.denied
}

// get implements objectStore.
func (s *S3) get(ctx context.Context, name string, o object, start, end int64) (body io.ReadCloser, err error) {
	options := minio.GetObjectOptions{}
	if o.condition != "" {
		err = options.SetMatchETag(o.condition)
	}
	if err = errors.Join(err, options.SetRange(start, end-1)); err != nil {
		return nil, err
	}
	err = attempts(ctx, func() (time.Duration, error) {
		if err := s.signIn(ctx); err != nil {
			return 0, err
		}
		var header http.Header
		var info minio.ObjectInfo
		body, info, header, err = s.client.GetObject(ctx, s.bucket, s.prefix+name, options)
		if err != nil {
			return 0, s.explain("the object cannot be read", err)
		}
		err = checkPart(header, start, end, o.size)
		if err == nil && versionOf(info.ETag, info.LastModified, o.size) != o.version {
			err = Wrap(ErrChanged)
		}
		if err != nil {
			_ = body.Close()
			return 0, err
		}
		return 0, nil
	})
	return body, err
}

// checkPart checks that a response has the requested part of an object of this size.
func checkPart(header http.Header, start, end, size int64) error {
	var first, last, total int64
	content := header.Get("Content-Range")
	if content == "" && start == 0 && end == size {
		return nil // a server may send a whole object without saying that it is a part
	}
	if _, err := fmt.Sscanf(content, "bytes %d-%d/%d", &first, &last, &total); err != nil || first != start || last != end-1 {
		return Wrap(fmt.Errorf("the server was asked for the bytes %d-%d and sent %q: it does not serve ranges", start, end-1, content))
	}
	if total != size {
		return Wrap(ErrChanged)
	}
	return nil
}

// isSettled reports whether the time of an object's last change, in seconds, cannot be that of a later change, too: it was
// not in the second in which the server answered (RFC 9110, 8.8.2.2).
func isSettled(modified time.Time, header http.Header) bool {
	date, err := http.ParseTime(header.Get("Date"))
	return err == nil && !modified.IsZero() && date.Sub(modified) > time.Second
}

// versionOf names an object's content by its ETag, or else the time of its last change, and its size.
func versionOf(etag string, modified time.Time, size int64) string {
	switch etag = strings.Trim(etag, `"`); {
	case etag != "":
		return fmt.Sprintf("etag %s, %d bytes", etag, size)
	case !modified.IsZero():
		return fmt.Sprintf("modified %s, %d bytes", modified.UTC().Format(time.RFC3339), size)
	}
	return ""
}
