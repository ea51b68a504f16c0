package factv1

import "strings"

// SplitImage takes an image's name apart, such as registry:5000/team/app:1.2@sha256:...: the repository
// registry:5000/team/app, the tag 1.2 and the digest. A part that is not there is empty. A bare id, with or
// without sha256:, is no name: all parts are empty.
func SplitImage(name string) (repo, tag, digest string) {
	if isDigest(strings.TrimPrefix(name, "sha256:")) {
		return "", "", ""
	}
	name, digest, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], name[i+1:], digest
	}
	return name, "", digest
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// SetImage fills the image's columns from its name, as far as they are empty.
func (c *Container) SetImage(name string) {
	if name == "" {
		return
	}
	repo, tag, digest := SplitImage(name)
	if c.Image == "" {
		c.Image = name
	}
	if c.ImageRepo == "" {
		c.ImageRepo = repo
		if c.ImageTag == "" {
			c.ImageTag = tag
		}
	}
	if c.ImageDigest == "" {
		c.ImageDigest = digest
	}
}
