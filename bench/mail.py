"""The other side of bench/mail: smtplib sends COUNT small messages over one connection to PORT; prints the seconds.

    python3 mail.py PORT COUNT
"""

import smtplib
import sys
import time
from email.message import EmailMessage

port, count = int(sys.argv[1]), int(sys.argv[2])
server = smtplib.SMTP("127.0.0.1", port)
server.ehlo()
start = time.monotonic()
for number in range(count):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@spec.test", "bob@spec.test", "message %d" % number
    message.set_content("a small message\n")
    assert server.send_message(message) == {}
print(time.monotonic() - start)
server.quit()
