package operator

import (
	"strings"
	"unicode"
)

// maxMessage is the limit of a message in the status, in bytes: 256 of them have to fit one resource.
const maxMessage = 1024

// cut makes a text one line of at most limit bytes.
func cut(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	const ellipsis = "…"
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}
