// Package installed reads which Python distributions an environment holds, from the files that installers
// leave there. It starts no Python: the engine asks at every preview.
package installed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// pluginFile is what a package carries that needs an engine's plug-in.
const pluginFile = "pulumi-plugin.json"

// Distribution is one installed distribution.
type Distribution struct {
	Name     string   // normalized: lower case, words joined by one hyphen
	Version  string   // as Python writes it
	Requires []string // normalized names, without those that belong to an extra
	Plugins  []string // paths of its pulumi-plugin.json files
}

// Scan lists the distributions in import folders, sorted by name. The first of two with one name counts, as
// it does for Python. Folders that do not exist hold nothing.
func Scan(folders []string) ([]Distribution, error) {
	found := map[string]Distribution{}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || isFile(folder) { // a zip file may be an import folder
				continue
			}
			return nil, err
		}
		for _, entry := range entries {
			if !strings.HasSuffix(entry.Name(), ".dist-info") {
				continue
			}
			distribution, err := read(folder, entry.Name())
			if err != nil {
				return nil, err
			}
			if _, known := found[distribution.Name]; distribution.Name != "" && !known {
				found[distribution.Name] = distribution
			}
		}
	}
	distributions := make([]Distribution, 0, len(found))
	for _, distribution := range found {
		distributions = append(distributions, distribution)
	}
	sort.Slice(distributions, func(i, j int) bool { return distributions[i].Name < distributions[j].Name })
	return distributions, nil
}

// TopLevel leaves out the distributions that another one requires.
func TopLevel(distributions []Distribution) []Distribution {
	required := map[string]bool{}
	for _, distribution := range distributions {
		for _, name := range distribution.Requires {
			required[name] = required[name] || name != distribution.Name
		}
	}
	var top []Distribution
	for _, distribution := range distributions {
		if !required[distribution.Name] {
			top = append(top, distribution)
		}
	}
	return top
}

// read reads one dist-info folder. A folder without METADATA is what an interrupted installation leaves,
// and is no distribution.
func read(folder, info string) (Distribution, error) {
	metadata, err := os.ReadFile(filepath.Join(folder, info, "METADATA"))
	if errors.Is(err, fs.ErrNotExist) {
		return Distribution{}, nil
	}
	if err != nil {
		return Distribution{}, err
	}
	distribution := parseMetadata(metadata)
	record, err := os.ReadFile(filepath.Join(folder, info, "RECORD"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Distribution{}, err
	}
	for _, line := range bytes.Split(record, []byte("\n")) {
		path, _, _ := strings.Cut(strings.Trim(string(line), "\r\""), ",")
		switch {
		case filepath.Base(path) == pluginFile:
			distribution.Plugins = append(distribution.Plugins, filepath.Join(folder, path))
		case strings.HasSuffix(path, ".pth") && !strings.Contains(path, "/"):
			linked, err := linkedPlugins(filepath.Join(folder, path))
			if err != nil {
				return Distribution{}, err
			}
			distribution.Plugins = append(distribution.Plugins, linked...)
		}
	}
	return distribution, nil
}

// linkedPlugins finds the plug-in files of packages that are installed as links to their sources: a .pth
// file names folders that hold packages.
func linkedPlugins(pth string) ([]string, error) {
	content, err := os.ReadFile(pth)
	if err != nil {
		return nil, fmt.Errorf("reading an installed package's link: %w", err)
	}
	var plugins []string
	for line := range strings.Lines(string(content)) {
		folder := strings.TrimSpace(line)
		if !filepath.IsAbs(folder) { // comments, imports
			continue
		}
		files, err := filepath.Glob(filepath.Join(escapeGlob(folder), "*", pluginFile))
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", pth, folder, err)
		}
		plugins = append(plugins, files...)
	}
	return plugins, nil
}

func parseMetadata(metadata []byte) Distribution {
	var distribution Distribution
	lines := bufio.NewScanner(bytes.NewReader(metadata))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() == "" { // the description follows
			break
		}
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "name":
			distribution.Name = Normalize(value)
		case "version":
			distribution.Version = value
		case "requires-dist":
			requirement, marker, _ := strings.Cut(value, ";")
			if !extraMarker.MatchString(marker) {
				distribution.Requires = append(distribution.Requires, Normalize(requirementName.FindString(requirement)))
			}
		}
	}
	return distribution
}

var (
	separators      = regexp.MustCompile(`[-_.]+`)
	requirementName = regexp.MustCompile(`^[A-Za-z0-9._-]+`)
	extraMarker     = regexp.MustCompile(`\bextra\s*==`)
	globSpecial     = regexp.MustCompile(`[*?\[\\]`)
)

// Normalize writes a distribution's name the way indexes compare names.
func Normalize(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

func escapeGlob(path string) string {
	return globSpecial.ReplaceAllString(path, `\$0`)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
