/* The limit: what a client in C, with nothing between it and the kernel, needs for the same work.
 *
 *   client echo|lines|exact PORT COUNT     prints seconds of CPU and of the clock
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define MIB (1024 * 1024)

static char bytes[MIB];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void echo(int fd, long count) {
  for (long i = 0; i < count; i++) {
    if (send(fd, bytes, 64, 0) != 64) die("send");
    for (ssize_t have = 0, got; have < 64; have += got)
      if ((got = recv(fd, bytes + have, 64 - have, 0)) <= 0) die("recv");
  }
}

static void lines(int fd, long count) {
  static char line[4096];
  size_t head = 0, tail = 0;
  for (long i = 0; i < count; i++) {
    char *end;
    while (!(end = memchr(bytes + head, '\n', tail - head))) {
      memmove(bytes, bytes + head, tail - head);
      tail -= head, head = 0;
      ssize_t got = recv(fd, bytes + tail, 65536, 0);
      if (got <= 0) die("recv");
      tail += got;
    }
    memcpy(line, bytes + head, end - bytes - head + 1);
    head = end - bytes + 1;
  }
}

static void exact(int fd, long count) {
  for (long i = 0; i < count; i++)
    if (recv(fd, bytes, MIB, MSG_WAITALL) != MIB) die("recv");
}

int main(int count, char **words) {
  if (count != 4) return 2;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (void *)&to, sizeof to)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  void (*work)(int, long) = !strcmp(words[1], "echo") ? echo : !strcmp(words[1], "lines") ? lines : exact;
  double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
  work(fd, atol(words[3]));
  printf("%.6f %.6f\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, seconds(CLOCK_MONOTONIC) - wall);
  return 0;
}
