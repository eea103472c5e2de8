package installed

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// write makes a file with its folders.
func write(t *testing.T, content string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// install puts a distribution into a folder, with a plug-in file when plugin is not empty.
func install(t *testing.T, folder, name, version, plugin string, requires ...string) {
	t.Helper()
	metadata := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	for _, requirement := range requires {
		metadata += "Requires-Dist: " + requirement + "\n"
	}
	module := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	info := module + "-" + version + ".dist-info"
	write(t, metadata+"\nName: not-the-name\n", folder, info, "METADATA")
	record := module + "/__init__.py,sha256=x,1\n"
	if plugin != "" {
		write(t, plugin, folder, module, pluginFile)
		record += module + "/" + pluginFile + ",sha256=x,1\n"
	}
	write(t, record, folder, info, "RECORD")
}

func scan(t *testing.T, folders ...string) []Distribution {
	t.Helper()
	distributions, err := Scan(folders)
	if err != nil {
		t.Fatal(err)
	}
	return distributions
}

func names(distributions []Distribution) []string {
	var list []string
	for _, distribution := range distributions {
		list = append(list, distribution.Name+"=="+distribution.Version)
	}
	return list
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestScanListsWhatIsInstalled(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	install(t, first, "Pulumi_Thing", "1.2", "")
	install(t, first, "zebra", "1", "")
	install(t, second, "zebra", "2", "")
	write(t, "", first, "broken-1.dist-info", "RECORD")
	equal(t, names(scan(t, first, second, filepath.Join(first, "absent"))), []string{"pulumi-thing==1.2", "zebra==1"})
}

func TestTopLevelLeavesOutWhatOthersRequire(t *testing.T) {
	folder := t.TempDir()
	install(t, folder, "app", "1", "", "lib.one>=1", `extra-lib ; extra == "more"`, "app[more]")
	install(t, folder, "lib-one", "1", "")
	install(t, folder, "extra-lib", "1", "")
	equal(t, names(TopLevel(scan(t, folder))), []string{"app==1", "extra-lib==1"})
}

func TestPluginsAreReadFromTheirFiles(t *testing.T) {
	folder := t.TempDir()
	install(t, folder, "pulumi-all", "9", `{"resource":true,"name":"every","version":"1.2.3","server":"https://x.test"}`)
	install(t, folder, "pulumi-bare", "2.0a1", `{"resource":true}`)
	install(t, folder, "pulumi-none", "1", `{"resource":false,"name":"none"}`)
	install(t, folder, "pulumi-param", "1",
		`{"resource":true,"name":"base","version":"1.0.0","parameterization":{"name":"p","version":"3.0.0","value":"aGk="}}`)
	plugins, err := Plugins(scan(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, plugins, []Plugin{
		{Name: "every", Version: "1.2.3", Server: "https://x.test"},
		{Name: "bare", Version: "2.0.0-alpha.1"},
		{Name: "base", Version: "1.0.0", Parameterization: &Parameterization{
			Name: "p", Version: "3.0.0", Value: []byte("hi"),
		}},
	})
}

func TestPluginsOfLinkedPackagesAreFound(t *testing.T) {
	folder, sources := t.TempDir(), filepath.Join(t.TempDir(), "a[b]")
	plugin := write(t, `{"resource":true,"name":"linked","version":"1.0.0"}`, sources, "linked", pluginFile)
	install(t, folder, "linked", "1", "")
	write(t, "_linked.pth,,\n", folder, "linked-1.dist-info", "RECORD")
	write(t, "# a comment\nimport os\n"+sources+"\n", folder, "_linked.pth")
	equal(t, scan(t, folder)[0].Plugins, []string{plugin})
}

func TestABadPluginFileIsNamed(t *testing.T) {
	for _, content := range []string{"{", `{"resource":true,"version":1}`} {
		folder := t.TempDir()
		install(t, folder, "bad", "1", content)
		if _, err := Plugins(scan(t, folder)); err == nil || !strings.Contains(err.Error(), pluginFile) {
			t.Errorf("%s: %v", content, err)
		}
	}
	folder := t.TempDir()
	install(t, folder, "odd", "one", `{"resource":true}`)
	if _, err := Plugins(scan(t, folder)); err == nil || !strings.Contains(err.Error(), "version of odd") {
		t.Errorf("a version that is none: %v", err)
	}
}

func TestAMissingPluginFileIsAnIncompleteInstallation(t *testing.T) {
	folder := t.TempDir()
	install(t, folder, "gone", "1", `{"resource":true}`)
	if err := os.Remove(filepath.Join(folder, "gone", pluginFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Plugins(scan(t, folder)); err == nil || !strings.Contains(err.Error(), "gone 1 is not installed completely") {
		t.Errorf("%v", err)
	}
}

func TestVirtualenvFolders(t *testing.T) {
	venv := t.TempDir()
	site := filepath.Dir(write(t, "", venv, "lib", "python3.11", "site-packages", "x"))
	if _, complete := VirtualenvFolders(venv); complete {
		t.Error("a folder without pyvenv.cfg is no virtual environment")
	}
	write(t, "home = /usr\ninclude-system-site-packages = false\n", venv, "pyvenv.cfg")
	folders, complete := VirtualenvFolders(venv)
	equal(t, folders, []string{site})
	equal(t, complete, true)
	write(t, "include-system-site-packages = true\n", venv, "pyvenv.cfg")
	if _, complete := VirtualenvFolders(venv); complete {
		t.Error("the system's packages are not below the virtual environment")
	}
}
