/* The other end of the socket measurements, on a free loopback port that it prints.
 *
 *   server echo [USEC]   sends back what comes, on any number of connections; USEC later, if named
 *   server flood         sends 64-byte lines without end, to one connection after the other
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1024 * 1024)

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int listen_here(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (void *)&at, size) || listen(fd, 4096) || getsockname(fd, (void *)&at, &size)) die("listen");
  printf("%d\n", ntohs(at.sin_port));
  fflush(stdout);
  return fd;
}

static int accept_one(int listener) {
  int on = 1, fd = accept(listener, NULL, NULL);
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  else if (errno != ECONNABORTED) die("accept");
  return fd;
}

static void watch(int set, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void echo(int listener, int delay) {
  static char bytes[65536];
  struct epoll_event ready[64];
  int set = epoll_create1(0);
  watch(set, listener);
  for (;;) {
    int count = epoll_wait(set, ready, 64, -1);
    for (int i = 0; i < count; i++) {
      int fd = ready[i].data.fd;
      if (fd == listener) {
        int peer = accept_one(listener);
        if (peer >= 0) watch(set, peer);
        continue;
      }
      ssize_t got = recv(fd, bytes, sizeof bytes, 0);
      if (got > 0 && delay) usleep(delay);
      if (got <= 0 || send(fd, bytes, got, 0) != got) close(fd);
    }
  }
}

static void flood(int listener) {
  static char bytes[MIB];
  memset(bytes, 'x', sizeof bytes);
  for (size_t end = 63; end < sizeof bytes; end += 64) bytes[end] = '\n';
  for (;;) {
    int fd = accept_one(listener);
    if (fd < 0) continue;
    /* A send that was cut short is continued where it was, so that every line has its 64 bytes. */
    for (size_t at = 0;;) {
      ssize_t sent = send(fd, bytes + at, sizeof bytes - at, 0);
      if (sent <= 0) break;
      at = (at + sent) % sizeof bytes;
    }
    close(fd);
  }
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  if (count > 1 && !strcmp(words[1], "echo")) echo(listen_here(), count > 2 ? atoi(words[2]) : 0);
  if (count > 1 && !strcmp(words[1], "flood")) flood(listen_here());
  fprintf(stderr, "usage: server echo [USEC] | flood\n");
  return 2;
}
