package installed

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var systemPackages = regexp.MustCompile(`(?im)^\s*include-system-site-packages\s*=\s*true\s*$`)

// VirtualenvFolders are the import folders of a virtual environment. They are not complete, and Python has
// to be asked, when the environment also uses the packages of the Python it was made from.
func VirtualenvFolders(path string) (folders []string, complete bool) {
	configuration, err := os.ReadFile(filepath.Join(path, "pyvenv.cfg"))
	if err != nil || systemPackages.Match(configuration) {
		return nil, false
	}
	for _, lib := range []string{"lib", "lib64"} { // lib64 differs from lib where a distribution separates them
		matches, err := filepath.Glob(filepath.Join(escapeGlob(path), lib, "python3*", "site-packages"))
		if err != nil {
			return nil, false
		}
		folders = append(folders, matches...)
	}
	return folders, len(folders) > 0
}

// SplitPaths takes NUL-separated paths apart.
func SplitPaths(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, "\x00")
}
