package flowspan_test

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"flowspan.dev/go/flowspanpb"
)

var (
	goBlock   = regexp.MustCompile("(?s)```go\n(.*?)```")
	qualifier = regexp.MustCompile(`\b([a-z]+)\.[A-Z]`)
)

// imported are the paths of the packages that the parts of programs in the README use.
var imported = map[string]string{
	"context": "context", "errors": "errors", "exec": "os/exec", "fmt": "fmt", "os": "os",
	"flowspan": "flowspan.dev/go", "flowspanpb": "flowspan.dev/go/flowspanpb",
}

// readmePrograms returns the program of the README, and one that calls each of its other blocks in a
// flow.
func readmePrograms(t *testing.T) (whole, parts string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var body strings.Builder
	for _, found := range goBlock.FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(found[1], "package main") {
			whole = found[1]
		} else {
			fmt.Fprintf(&body, "if err := func() error {\n%s\nreturn nil\n}(); err != nil {\nreturn 0, err\n}\n", found[1])
		}
	}
	main := `func main() {
	ctx := context.Background()
	client, err := flowspan.Connect(ctx)
	if err != nil {
		panic(err)
	}
	_, err = flowspan.Flow(ctx, client, "parts", func(ctx context.Context) (int, error) {
		` + body.String() + `
		return 0, nil
	})
	if err := errors.Join(err, client.Close(ctx)); err != nil {
		panic(err)
	}
}
`
	head := []string{"package main"}
	seen := map[string]bool{}
	for _, found := range qualifier.FindAllStringSubmatch(main, -1) {
		if path, ok := imported[found[1]]; ok && !seen[path] {
			seen[path] = true
			head = append(head, fmt.Sprintf("import %q", path))
		}
	}
	return whole, strings.Join(head, "\n") + "\n" + main
}

// module makes a module in an empty folder, which requires this client and what it requires.
func module(t *testing.T, program string) string {
	t.Helper()
	folder := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	required, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(required), "module flowspan.dev/go\n", "module example.com/readme\n", 1)
	text += "\nrequire flowspan.dev/go v0.0.0\n\nreplace flowspan.dev/go => " + here + "\n"
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"go.mod": []byte(text), "go.sum": sums, "main.go": []byte(program)} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func goRun(t *testing.T, folder, address string) string {
	t.Helper()
	command := exec.CommandContext(ctxOf(t), "go", "run", "-mod=mod", ".")
	command.Dir = folder
	command.Env = append(os.Environ(), "FLOWSPAN_ADDRESS="+address)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	return output.String()
}

func TestTheProgramsOfTheReadmeRun(t *testing.T) {
	whole, parts := readmePrograms(t)
	own := startService(t)
	formatted, err := format.Source([]byte(whole))
	if err != nil || string(formatted) != whole {
		t.Error("the program of the README is not formatted", err)
	}
	if output := goRun(t, module(t, whole), own.Address); !strings.HasSuffix(output, "9 rows\n") {
		t.Error(output)
	}
	output := goRun(t, module(t, parts), own.Address)
	for _, expected := range []string{"[2 4 6]\n", " parts Running\n", "NotFound "} {
		if !strings.Contains(output, expected) {
			t.Errorf("%q is not in the output:\n%s", expected, output)
		}
	}
	counts, err := connectTo(t, own.Address).CountTaskRuns(ctxOf(t), nil)
	if err != nil || counts[flowspanpb.StateType_STATE_TYPE_COMPLETED] != 5 || len(counts) != 1 {
		t.Error(counts, err)
	}
}
