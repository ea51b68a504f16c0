// Command true does nothing, successfully, whatever it is called: busybox's would look at its name.
package main

func main() {}
