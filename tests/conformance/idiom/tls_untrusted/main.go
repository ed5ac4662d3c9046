// Command tls_untrusted is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	_, err := flowspan.Connect(context.Background(), program.Options()...)
	var refused *flowspan.Error
	if !errors.As(err, &refused) {
		log.Fatal(err)
	}
	program.Print(program.CodeName(refused), program.Advice(refused))
	fmt.Println(refused)
}
