"""What a simulation script needs beside the force."""
