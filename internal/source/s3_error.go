package source

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
)

// explain marks an error of the store and says what to do about it; nil stays nil. The codes are those of
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
func (s *S3) explain(problem string, err error) error {
	if err == nil {
		return nil
	}
	var marked *Error
	var response minio.ErrorResponse
	switch {
	case errors.As(err, &marked):
		return marked // without the request's URL
	case !errors.As(err, &response):
		var request *url.Error
		if errors.As(err, &request) {
			err = request.Err // without the URL, which repeats the key
		}
		if strings.HasPrefix(err.Error(), "Connection closed by foreign host") { // the client's text has the URL, too
			err = errors.New("it closes the connection" + map[string]string{"http": "; if it speaks TLS, write https:// for it"}[s.endpoint.Scheme])
		}
		return connectionError(s.endpoint.Host, err)
	}
	said := fmt.Sprintf("(%s)", strings.Trim(response.Code+": "+strings.TrimSpace(response.Message), " .:"))
	config := func(format string, args ...any) error {
		return misconfigured(fmt.Errorf("%s: %s %s", s, fmt.Sprintf(format, args...), said))
	}
	switch response.Code {
	case "NoSuchKey", "NotFound":
		return &Error{err: fmt.Errorf("%w: the object is not in %s", ErrNoMatch, s)}
	case "PreconditionFailed":
		return Wrap(ErrChanged)
	case "InvalidObjectState":
		return Wrap(fmt.Errorf("the object is archived: restore it in the store, and run again %s", said))
	case "NoSuchBucket":
		return config("the bucket %s does not exist there: correct its name, or the store's address (AWS_ENDPOINT_URL_S3)", s.bucket)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity":
		return config("the store does not accept the access key: correct the credentials")
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken":
		return config("the session token has expired or is not valid: renew the credentials")
	case "RequestTimeTooSkewed", "RequestExpired":
		return config("this machine's clock and the store's differ too much: set it by NTP")
	case "AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect", "IllegalLocationConstraintException":
		if response.Region != "" {
			return config("the bucket is in the region %s: set AWS_REGION=%s", response.Region, response.Region)
		}
		return config("the region does not fit the bucket, or the store's address: set AWS_REGION")
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return &Error{Config: true, denied: true, err: fmt.Errorf("%s: %s: allow s3:ListBucket for the bucket and s3:GetObject "+
			"for its objects, or use other credentials %s", s, problem, said)}
	}
	if s.endpoint.Scheme == "http" && response.StatusCode == http.StatusBadRequest && strings.Contains(said, "HTTPS") {
		return config("%s speaks TLS: write https:// for it", s.endpoint.Host)
	}
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 || response.Code == "RequestTimeout" ||
		response.Code == "SlowDown" {
		return transient(fmt.Errorf("%s: %s now %s", s, problem, said))
	}
	if response.StatusCode == http.StatusMovedPermanently || response.StatusCode == http.StatusTemporaryRedirect {
		return config("the bucket is at another address: set AWS_REGION to its region%s", ifAny(" ", response.Region))
	}
	// A response to HEAD says nothing but its status.
	return &Error{denied: response.StatusCode == http.StatusBadRequest, err: fmt.Errorf("%s: %s %s", s, problem, said)}
}

// ifAny is a text behind its separator; empty if there is none.
func ifAny(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}
