/* swap ONE OTHER [ONE OTHER …]: exchanges the names for as long as its parent lives. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int count, char **names) {
  pid_t parent = getppid();
  for (;;) {
    if (getppid() != parent) return 0;
    for (int at = 1; at + 1 < count; at += 2) {
      if (renameat2(AT_FDCWD, names[at], AT_FDCWD, names[at + 1], RENAME_EXCHANGE) != 0) {
        perror(names[at]);
        return 1;
      }
    }
  }
}
